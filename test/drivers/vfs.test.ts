/** @module-tag every-identity */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { vfs } from '#layerstack/drivers/vfs/index.js'
import { removeTree } from '../support/mounts.js'
import { opener } from './openers.js'

const open = opener(vfs, { engine: 'userspace' })

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'layerstack-vfs-'))
})
afterEach(() => removeTree(root))

describe('vfs with a directory in place of a file beside a layer', () => {
  it.each(['.copied', '.attributes'])(
    'lists no layer for %s, and removes it with its layer',
    async (suffix) => {
      const driver = await open(root)
      await driver.create('base')
      await driver.create('child', 'base')
      const beside = join(root, 'vfs/dir', `child${suffix}`)
      rmSync(beside, { force: true })
      mkdirSync(join(beside, 'below'), { recursive: true })

      expect((await driver.list()).toSorted()).toEqual(['base', 'child'])
      expect((await driver.idsOnDisk?.())?.toSorted()).toEqual(['base', 'child'])
      await driver.remove('child')
      expect(readdirSync(join(root, 'vfs/dir')).filter((name) => name.startsWith('child'))).toEqual([])
      await driver.cleanup()
    },
  )

  it.each(['-making', '-removing', '.copied', '.attributes'])(
    'refuses an id that ends in %s',
    async (suffix) => {
      const driver = await open(root)
      await expect(driver.create(`layer${suffix}`)).rejects.toThrow(TypeError)
      await driver.cleanup()
    },
  )
})
