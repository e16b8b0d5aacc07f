import assert from 'node:assert/strict'
import type { ConformanceCase } from '../case.js'
import { tarOf } from '../tar-of.js'

const USUAL = 128
/** Every tenth layer, and the last, brings a file. */
const STEP = 10

/** Long chains: 128 layers, and the maximum. */
export function depth(deepest: number): ConformanceCase[] {
  return [...new Set([Math.min(USUAL, deepest), deepest])].map((count) => ({
    name: `shows a stack of ${count} layers as one tree`,
    async run(subject) {
      const { driver } = subject
      const brings = (index: number): boolean => index % STEP === 0 || index === count - 1
      for (let index = 0; index < count; index++) {
        const parent = index === 0 ? undefined : `layer${index - 1}`
        await driver.create(`layer${index}`, parent)
        if (!brings(index)) continue
        const name = `file${index}`
        await subject.apply(`layer${index}`, parent, tarOf([{ name, content: name }]))
      }
      const top = `layer${count - 1}`
      await driver.createReadWrite('container', top)
      await subject.inView('container', async (fs) => {
        for (let index = 0; index < count; index++) {
          if (brings(index)) assert.equal(await fs.readFile(`/file${index}`, 'utf8'), `file${index}`)
        }
        await fs.writeFile('/file0', 'changed')
        await fs.rm(`/file${STEP}`)
      })
      assert.equal(await driver.diffSize('container', top), 'changed'.length)
      assert.deepEqual(await subject.changes('container', top), ['modify /file0', `delete /file${STEP}`])
    },
  }))
}
