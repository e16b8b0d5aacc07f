/** @module-tag thorough */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { optionsOf, storeSettings } from '../store/settings.js'
import { removeTree } from '../support/mounts.js'
import { noLinux, notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'

/** Enough for a store at work, but quickly exhausted. */
const LIMIT = 150
/** A subset of the calls in `descriptors.mjs`, which runs all of them by default. */
const CALLS = 'remove,unmount,consume'

let scratch: string

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-descriptors-'))
})

afterEach(() => removeTree(scratch))

describe('remove, unmount and consume can be repeated after they ran out of file descriptors', () => {
  for (const settings of storeSettings) {
    it(`on ${settings.name}`, unless(settings.reason ?? noLinux ?? notInstalled('prlimit')), async () => {
      const archives = [join(scratch, 'base.tar'), join(scratch, 'layered.tar')] as const
      const layers = [
        await layerTar([{ name: 'etc/motd', content: 'hello\n' }]),
        await layerTar([{ name: 'new', content: 'new' }]),
      ]
      await writeArchive(archives[0], imageOf(layers.slice(0, 1), 'base:1'))
      await writeArchive(archives[1], imageOf(layers, 'layered:1'))
      const script = join(import.meta.dirname, 'descriptors.mjs')
      const options = JSON.stringify(optionsOf(settings))
      const limited = [`--nofile=${LIMIT}:${LIMIT}`, process.execPath, script, join(scratch, 'root'), options]
      const output = await run('prlimit', [...limited, ...archives, CALLS])
      expect(JSON.parse(output.toString())).toEqual([])
    })
  }
})
