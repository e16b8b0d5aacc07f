import assert from 'node:assert/strict'
import type { ConformanceCase } from '../case.js'
import { oddLayers, outlineOf, refusedLayers, type OddLayer, type RefusedLayer } from '../odd-layers/index.js'
import type { Subject } from '../subject.js'
import { mustComeBack } from './editing.js'

/**
 * Every odd layer makes exactly its tree, and the diff of each layer makes that tree again. Layers to refuse are
 * refused.
 */
export const oddities: readonly ConformanceCase[] = [...oddLayers.map(taken), ...refusedLayers.map(refused)]

function taken({ name, layers, tree }: OddLayer): ConformanceCase {
  return {
    name: `unpacks ${name}`,
    async run(subject) {
      const top = await stack(subject, layers)
      assert.deepEqual(await subject.inView(top, async (fs) => outlineOf(fs.syncFs)), tree)
      for (const index of layers.keys()) await mustComeBack(subject, `layer${index}`, idBelow(index))
    },
  }
}

function refused({ name, layers, code }: RefusedLayer): ConformanceCase {
  return {
    name: `refuses ${name}`,
    async run(subject) {
      const below = layers.length > 1 ? await stack(subject, layers.slice(0, -1)) : undefined
      await subject.driver.create('refused', below)
      await assert.rejects(subject.apply('refused', below, layers.at(-1) as Buffer), { code })
      await subject.driver.remove('refused')
      assert.equal((await subject.driver.list()).length, layers.length - 1)
    },
  }
}

/** @returns the id of the topmost layer */
async function stack(subject: Subject, layers: readonly Buffer[]): Promise<string> {
  for (const [index, tar] of layers.entries()) {
    await subject.driver.create(`layer${index}`, idBelow(index))
    await subject.apply(`layer${index}`, idBelow(index), tar)
  }
  return `layer${layers.length - 1}`
}

function idBelow(index: number): string | undefined {
  return index === 0 ? undefined : `layer${index - 1}`
}
