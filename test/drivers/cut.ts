import fs from 'node:fs'
import { createRequire, syncBuiltinESMExports } from 'node:module'

/**
 * Simulates a kill between two steps of this process. After a given number of changes to a directory, to mounts and to
 * device-mapper devices, all further changes throw and have no effect. Import it before any module that makes system
 * calls.
 */

let left = Infinity
let directory = ''

/** @returns whether the work was cut; false if it finished within that many steps */
export async function cutAfter(steps: number, below: string, work: () => Promise<unknown>): Promise<boolean> {
  left = steps
  directory = below
  try {
    await work()
    return left < 0
  } catch (error) {
    if (left >= 0) throw error
    return true
  } finally {
    left = Infinity
  }
}

function step(): void {
  if (--left < 0) throw new Error('cut')
}

type Call = (...args: unknown[]) => unknown

function inDirectory(call: Call): Call {
  return (...args) => {
    if (typeof args[0] === 'string' && args[0].startsWith(directory)) step()
    return call(...args)
  }
}

const { renameSync, rmSync, mkdirSync, rmdirSync, writeFileSync } = fs
for (const [name, call] of Object.entries({ renameSync, rmSync, mkdirSync, rmdirSync, writeFileSync })) {
  Object.assign(fs, { [name]: inDirectory(call as Call) })
}
const { rename, rm } = fs.promises
for (const [name, call] of Object.entries({ rename, rm })) {
  Object.assign(fs.promises, { [name]: inDirectory(call as Call) })
}
syncBuiltinESMExports()

interface Library {
  func(prototype: string): Call
}

const koffi = createRequire(import.meta.url)('koffi') as { load(library: null): Library }
const load = koffi.load.bind(koffi)
koffi.load = (name) => {
  const library = load(name)
  return { func: (prototype) => counted(prototype, library.func(prototype)) }
}

function counted(prototype: string, call: Call): Call {
  const isIoctl = prototype.startsWith('int ioctl(')
  if (!isIoctl && !/^int (u?mount2?)\(/.test(prototype)) return call
  return (...args) => {
    if (!isIoctl || changes(Number(args[1]))) step()
    return call(...args)
  }
}

const LOOP_CONFIGURE = 0x4c0a
const BLKDISCARD = 0x1277
const DEVICE_MAPPER = 0xfd
/** DM_DEV_CREATE, DM_DEV_REMOVE, DM_DEV_SUSPEND, DM_TABLE_LOAD, DM_TARGET_MSG */
const CHANGING = new Set([3, 4, 6, 9, 14])

function changes(request: number): boolean {
  if (request === LOOP_CONFIGURE || request === BLKDISCARD) return true
  return ((request >>> 8) & 0xff) === DEVICE_MAPPER && CHANGING.has(request & 0xff)
}
