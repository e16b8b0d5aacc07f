/**
 * @module-tag device-mapper
 * @module-tag every-identity
 */
import {
  closeSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { blockDevicePath, blockDeviceSize, discardBlocks } from '#layerstack/sys/block-device.js'
import {
  createDmDevice,
  dmDevice,
  dmKnowsTarget,
  dmTable,
  dmVersion,
  keepDmDevice,
  removeDmDevice,
  replaceDmTable,
  resumeDmDevice,
  sendDmMessage,
  suspendDmDevice,
} from '#layerstack/sys/dm.js'
import { attachLoop, fileOfLoop, growLoop, type LoopDevice } from '#layerstack/sys/loop.js'
import { noThinPools } from '../drivers/thin-fixture.js'
import { unless } from '../support/needs.js'
import { run } from '../support/program.js'

const NAME = 'layerstack-test-linear'
const MEBIBYTE = 1 << 20

describe('device-mapper', unless(noThinPools), () => {
  let base: string
  let file: string
  let loop: LoopDevice
  const linear = (sectors: bigint) => ({
    start: 0n,
    sectors,
    type: 'linear',
    parameters: `${loop.major}:${loop.minor} 0`,
  })

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'layerstack-dm-'))
    file = join(base, 'file')
    writeFileSync(file, '')
    truncateSync(file, 4 * MEBIBYTE)
    loop = attachLoop(file)
  })
  afterEach(() => {
    removeDmDevice(NAME)
    closeSync(loop.fd)
    rmSync(base, { recursive: true })
  })

  it('reports its version and its targets', () => {
    expect(dmVersion()[0]).toBe(4)
    expect(dmKnowsTarget('thin-pool')).toBe(true)
    expect(dmKnowsTarget('never-a-target')).toBe(false)
  })

  it('creates a device that dmsetup shows, and removes it when it is not in use', async () => {
    expect(dmDevice(NAME)).toBeUndefined()
    const { major, minor } = createDmDevice(NAME, linear(2048n))
    expect((await run('dmsetup', ['table', NAME])).toString()).toBe(`0 2048 linear 7:${loop.minor} 0\n`)
    expect(dmTable(NAME)).toEqual(linear(2048n))
    expect(() => createDmDevice(NAME, linear(2048n))).toThrow(expect.objectContaining({ code: 'EBUSY' }))
    const fd = openSync(blockDevicePath(major, minor), 'r+')
    writeSync(fd, 'through the device', 0)
    expect(dmDevice(NAME)).toMatchObject({ openCount: 1, suspended: false })
    expect(() => removeDmDevice(NAME)).toThrow(expect.objectContaining({ code: 'EBUSY' }))
    closeSync(fd)
    expect(removeDmDevice(NAME)).toBe(true)
    expect(removeDmDevice(NAME)).toBe(false)
    const start = Buffer.alloc(18)
    readSync(loop.fd, start, 0, 18, 0)
    expect(start.toString()).toBe('through the device')
  })

  it('leaves no device behind if the table is invalid', () => {
    const wrong = { ...linear(2048n), parameters: 'no device' }
    expect(() => createDmDevice(NAME, wrong)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(dmDevice(NAME)).toBeUndefined()
  })

  it('removes a device after its last user closes it, unless keepDmDevice() cancels the removal', async () => {
    const { major, minor } = createDmDevice(NAME, linear(2048n))
    const fd = openSync(blockDevicePath(major, minor), 'r')
    expect(removeDmDevice(NAME, { whenUnused: true })).toBe(true)
    expect(dmDevice(NAME)).toMatchObject({ removedWhenUnused: true })
    expect(keepDmDevice(NAME)).toBe(true)
    expect(dmDevice(NAME)).toMatchObject({ removedWhenUnused: false })
    removeDmDevice(NAME, { whenUnused: true })
    closeSync(fd)
    await expect.poll(() => dmDevice(NAME)).toBeUndefined()
    expect(keepDmDevice(NAME)).toBe(false)
  })

  it('suspends and resumes a device and replaces its table', () => {
    const { major, minor } = createDmDevice(NAME, linear(2048n))
    suspendDmDevice(NAME)
    expect(dmDevice(NAME)).toMatchObject({ suspended: true })
    resumeDmDevice(NAME)
    replaceDmTable(NAME, linear(4096n))
    const fd = openSync(blockDevicePath(major, minor), 'r')
    expect(blockDeviceSize(fd)).toBe(2n << 20n)
    closeSync(fd)
  })

  it('throws an error with the fields of a Node error if a target refuses a message', () => {
    createDmDevice(NAME, linear(2048n))
    expect(() => sendDmMessage(NAME, 'hello')).toThrow(
      expect.objectContaining({ code: 'EINVAL', path: NAME, syscall: 'ioctl DM_TARGET_MSG hello' }),
    )
  })

  it('attaches files as loop devices that grow, free discarded space and detach after their last user', async () => {
    expect(fileOfLoop(loop.major, loop.minor)).toBe(file)
    truncateSync(file, 8 * MEBIBYTE)
    growLoop(loop.path)
    expect(blockDeviceSize(loop.fd)).toBe(8n << 20n)
    writeSync(loop.fd, Buffer.alloc(MEBIBYTE, 1), 0, MEBIBYTE, 0)
    await run('sync', [])
    expect(await blocksOf(file)).toBeGreaterThanOrEqual(2048)
    discardBlocks(loop.fd, 0n, 1n << 20n)
    expect(await blocksOf(file)).toBe(0)
    const { minor } = loop
    closeSync(loop.fd)
    await expect.poll(() => fileOfLoop(7, minor)).toBeUndefined()
    loop = attachLoop(file)
  })
})

async function blocksOf(path: string): Promise<number> {
  return Number((await run('stat', ['-c', '%b', path])).toString())
}
