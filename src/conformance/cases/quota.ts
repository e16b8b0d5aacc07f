import assert from 'node:assert/strict'
import type { ConformanceCase } from '../case.js'

const MEBIBYTE = 1 << 20

/** Size limits of writable layers. */
export const quota: readonly ConformanceCase[] = [
  {
    name: 'limits a writable layer to its size',
    unless: ({ capabilities }) => (capabilities.quota ? undefined : 'the driver does not support quotas'),
    async run({ driver }) {
      await driver.create('base')
      await driver.createReadWrite('container', 'base', { storageOptions: { size: '50M' } })
      const { fs } = await driver.get('container')
      await fs.writeFile('/fits', Buffer.alloc(20 * MEBIBYTE, 1))
      await assert.rejects(
        async () => {
          await fs.writeFile('/does-not', Buffer.alloc(100 * MEBIBYTE, 1))
          await using file = await fs.open('/does-not', 'r+')
          await file.sync()
        },
        (error: NodeJS.ErrnoException) => error.code === 'EDQUOT' || error.code === 'ENOSPC',
      )
      await driver.put('container')
    },
  },
]
