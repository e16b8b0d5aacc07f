import { closeSync, existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { blockDevicePath } from '#layerstack/sys/block-device.js'
import { createDmDevice, dmDevice } from '#layerstack/sys/dm.js'
import { attachLoop } from '#layerstack/sys/loop.js'
import { hasDeviceMapper } from '../support/device-mapper.mjs'
import { enterDirectory } from '../support/ledger.js'
import { removeTree } from '../support/mounts.js'
import { noMounts, notInstalled, type Reason } from '../support/needs.js'
import { run } from '../support/program.js'

/** `test/run.mjs` runs tests that are skipped for this reason in User-Mode Linux, if that is installed. */
export const noThinPools: Reason =
  noMounts ??
  (hasDeviceMapper ? undefined : 'this kernel has no device-mapper') ??
  notInstalled('dmsetup', 'thin_check', 'mkfs.xfs', 'xfs_repair', 'mkfs.ext4', 'e2fsck')

/** Options for the smallest possible file systems, which keep tests fast. */
export const SMALL = {
  xfs: { 'dm.fs': 'xfs', 'dm.basesize': '48M', 'dm.mkfsarg': '--unsupported' },
  ext4: { 'dm.fs': 'ext4', 'dm.basesize': '48M' },
} as const

/** A root for devicemapper. Disposal checks its pool and the file systems of its layers. */
export interface ThinFixture extends AsyncDisposable {
  readonly base: string
  readonly root: string
  open(driverOptions?: Readonly<Record<string, unknown>>): Promise<Driver>
}

export function thinFixture(checked?: { fileSystems: boolean }): ThinFixture {
  const base = mkdtempSync(join(tmpdir(), 'layerstack-thin-'))
  enterDirectory(base)
  const root = join(base, 'root')
  mkdirSync(root)
  const opened: Driver[] = []
  return {
    base,
    root,
    open: async (driverOptions = SMALL.ext4) => {
      const driver = await devicemapper.open({ root, engine: 'kernel', readOnly: false, driverOptions })
      opened.push(driver)
      return driver
    },
    [Symbol.asyncDispose]: async () => {
      try {
        for (const driver of opened) await driver.cleanup()
        await expectSound(root, checked)
      } finally {
        await removeTree(base)
      }
    },
  }
}

/** Expects that `thin_check` accepts the pool's metadata, and fsck the file system of every layer. */
export async function expectSound(root: string, { fileSystems = true } = {}): Promise<void> {
  const metadata = join(root, 'devicemapper/devicemapper/metadata')
  if (!existsSync(metadata)) return
  await thinTool('thin_check', metadata)
  if (!fileSystems) return
  const driver = await devicemapper.open({ root, engine: 'auto', readOnly: false })
  try {
    const pool = (await driver.status())[0]?.[1] ?? ''
    for (const id of await driver.list()) {
      // A mount replays the journal of a snapshot that was taken of a mounted layer.
      await driver.get(id)
      await driver.put(id)
      await checkFileSystem(pool, await driver.metadata(id))
    }
  } finally {
    await driver.cleanup()
  }
  await thinTool('thin_check', metadata)
  expect((await run('losetup', ['--associated', metadata])).toString()).toBe('')
}

/** Uses a loop device: the tools bypass the page cache, which not every file supports. */
async function thinTool(program: 'thin_check' | 'thin_dump', metadata: string): Promise<string> {
  const { fd, path } = attachLoop(metadata, { readOnly: true })
  try {
    return (await run(program, [path])).toString()
  } finally {
    closeSync(fd)
  }
}

/** Returns the numbers of the thin devices in a root's pool. No driver may have the root open. */
export async function thinIds(root: string): Promise<number[]> {
  const dump = await thinTool('thin_dump', join(root, 'devicemapper/devicemapper/metadata'))
  return [...dump.matchAll(/<device dev_id="(\d+)"/g)].map(([, id]) => Number(id))
}

async function checkFileSystem(
  pool: string,
  { DeviceId, DeviceSize }: Record<string, string>,
): Promise<void> {
  const name = 'layerstack-test-fsck'
  const below = dmDevice(pool)
  const { major, minor } = createDmDevice(name, {
    start: 0n,
    sectors: BigInt(DeviceSize ?? 0) / 512n,
    type: 'thin',
    parameters: `${below?.major}:${below?.minor} ${DeviceId}`,
  })
  try {
    const path = blockDevicePath(major, minor)
    const type = (await run('blkid', ['-p', '-s', 'TYPE', '-o', 'value', path])).toString().trim()
    if (type === 'xfs') await run('xfs_repair', ['-n', path])
    else await run('e2fsck', ['-fn', path])
  } finally {
    await run('dmsetup', ['remove', '--retry', name])
  }
}
