/** @module-tag thorough */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chunksOf, tarOf } from '#layerstack/conformance/tar-of.js'
import { vfs } from '#layerstack/drivers/vfs/index.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { fileSystemOf } from '#layerstack/sys/file-system.js'
import { unless } from '../support/needs.js'

/** The most hard links to one file on ext4. */
const MOST = 65_000

const isExt = fileSystemOf(tmpdir()).name === 'extfs'

describe('a layer with more hard links to a file than ext4 allows', () => {
  let root: string
  let driver: Driver

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'layerstack-links-'))
    driver = await vfs.open({ root, engine: 'userspace', readOnly: false })
  })

  afterAll(async () => {
    await driver.cleanup()
    rmSync(root, { recursive: true, force: true })
  })

  it(
    'is refused with the name of the file and a hint to use XFS',
    unless(isExt ? undefined : 'the temporary directory is not on ext4'),
    async () => {
      const links = Array.from({ length: MOST }, (_, index) => ({
        name: `link${index}`,
        type: 'link' as const,
        linkName: 'file',
      }))
      await driver.create('layer')
      const tar = chunksOf(tarOf([{ name: 'file', content: 'x' }, ...links]))
      await expect(driver.applyDiff('layer', undefined, tar)).rejects.toMatchObject({
        code: 'LAYER_INVALID',
        message: expect.stringMatching(/"link64999": "file" already has 65000 names/),
        hint: expect.stringMatching(/XFS/),
      })
      await driver.remove('layer')
      expect(await driver.list()).toEqual([])
    },
  )
})
