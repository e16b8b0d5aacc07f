import { closeSync, openSync } from 'node:fs'
import { isErrno } from '../errors.js'
import { ioctl, request } from './ioctl.js'

/**
 * Devices of the kernel's device-mapper, by name. Does what `dmsetup` does, but without that program and without
 * waiting for udev.
 */

const CONTROL = '/dev/mapper/control'

/** The kernel's state of a device (`struct dm_ioctl`). */
export interface DmDevice {
  readonly major: number
  readonly minor: number
  /** Number of openers, including devices stacked on it. */
  readonly openCount: number
  readonly suspended: boolean
  /** It has a table. A device without one was left by a process that died while making it. */
  readonly ready: boolean
  readonly readOnly: boolean
  /** The kernel removes it when its last user closes it. */
  readonly removedWhenUnused: boolean
}

/** One line of a device's table: a range of 512-byte sectors, and its target. */
export interface DmTarget {
  readonly start: bigint
  readonly sectors: bigint
  /** `thin-pool`, `thin`, `linear`, … */
  readonly type: string
  readonly parameters: string
}

/** Returns the version of the kernel's driver: major, minor, patch. */
export function dmVersion(): readonly [number, number, number] {
  const { answer } = command('DM_VERSION', {})
  return [answer.readUInt32LE(0), answer.readUInt32LE(4), answer.readUInt32LE(8)]
}

/** Whether the kernel supports this target type. Loads the target's module if possible. */
export function dmKnowsTarget(type: string): boolean {
  try {
    command('DM_GET_TARGET_VERSION', { name: type })
    return true
  } catch (error) {
    if (isErrno(error, 'EINVAL', 'ENOTTY')) return false
    throw error
  }
}

/** Returns the device of this name, if it exists. */
export function dmDevice(name: string): DmDevice | undefined {
  try {
    return deviceOf(command('DM_DEV_STATUS', { name }).answer)
  } catch (error) {
    if (isErrno(error, 'ENXIO')) return undefined
    throw error
  }
}

/** Makes a device with one target, ready for use. Throws `EBUSY` if a ready device of this name already exists. */
export function createDmDevice(name: string, target: DmTarget, { readOnly = false } = {}): DmDevice {
  try {
    command('DM_DEV_CREATE', { name })
  } catch (error) {
    if (!isErrno(error, 'EBUSY') || dmDevice(name)?.ready !== false) throw error
    removeDmDevice(name)
    command('DM_DEV_CREATE', { name })
  }
  try {
    const flags = readOnly ? DM_READONLY : 0
    command('DM_TABLE_LOAD', { name, payload: encodeTarget(target), targets: 1, flags })
    return deviceOf(command('DM_DEV_SUSPEND', { name, udev: true }).answer)
  } catch (error) {
    command('DM_DEV_REMOVE', { name, udev: true })
    throw error
  }
}

/** Replaces a device's table. I/O waits meanwhile. */
export function replaceDmTable(name: string, target: DmTarget): void {
  command('DM_TABLE_LOAD', { name, payload: encodeTarget(target), targets: 1 })
  suspendDmDevice(name)
  resumeDmDevice(name)
}

/** Freezes a file system on the device, and holds back all I/O until it is resumed. */
export function suspendDmDevice(name: string): void {
  command('DM_DEV_SUSPEND', { name, flags: DM_SUSPEND })
}

export function resumeDmDevice(name: string): void {
  command('DM_DEV_SUSPEND', { name, udev: true })
}

/**
 * Removes a device. Throws `EBUSY` while it is open. With `whenUnused`, the kernel removes it after its last user
 * closes it.
 * @returns `false` if it does not exist
 */
export function removeDmDevice(name: string, { whenUnused = false } = {}): boolean {
  try {
    command('DM_DEV_REMOVE', { name, flags: whenUnused ? DM_DEFERRED_REMOVE : 0, udev: true })
    return true
  } catch (error) {
    if (isErrno(error, 'ENXIO')) return false
    throw error
  }
}

/** Cancels a removal that `whenUnused` deferred. Returns `false` if the device no longer exists. */
export function keepDmDevice(name: string): boolean {
  try {
    sendDmMessage(name, '@cancel_deferred_remove')
    return true
  } catch (error) {
    if (isErrno(error, 'ENXIO')) return false
    throw error
  }
}

/** Returns a ready device and the status of its first target; `undefined` if no ready device has this name. */
export function dmStatus(name: string): { readonly device: DmDevice; readonly target: DmTarget } | undefined {
  try {
    const { answer, payload } = command('DM_TABLE_STATUS', { name, room: ROOM, flags: DM_NOFLUSH })
    const device = deviceOf(answer)
    return device.ready ? { device, target: decodeTarget(payload) } : undefined
  } catch (error) {
    if (isErrno(error, 'ENXIO')) return undefined
    throw error
  }
}

/** Returns the first target of a device, as in its table. */
export function dmTable(name: string): DmTarget {
  return decodeTarget(command('DM_TABLE_STATUS', { name, room: ROOM, flags: DM_STATUS_TABLE }).payload)
}

export function sendDmMessage(name: string, message: string): void {
  const text = Buffer.from(`${message}\0`)
  command('DM_TARGET_MSG', { name, payload: Buffer.concat([Buffer.alloc(8), text]), detail: message })
}

const HEADER = 312
const ROOM = 16 << 10
const NAME = { at: 48, length: 128 }
const TARGET = 40

const DM_READONLY = 1
const DM_SUSPEND = 1 << 1
const DM_STATUS_TABLE = 1 << 4
const DM_ACTIVE_PRESENT = 1 << 5
const DM_NOFLUSH = 1 << 11
const DM_DEFERRED_REMOVE = 1 << 17
/**
 * The upper half of the event number tells udev's rules what to skip. Skips scans, which would hold the device open.
 */
const NO_SCANS = (0x2 | 0x4 | 0x8) << 16

const COMMANDS = {
  DM_VERSION: 0,
  DM_DEV_CREATE: 3,
  DM_DEV_REMOVE: 4,
  DM_DEV_SUSPEND: 6,
  DM_DEV_STATUS: 7,
  DM_TABLE_LOAD: 9,
  DM_TABLE_STATUS: 12,
  DM_TARGET_MSG: 14,
  DM_GET_TARGET_VERSION: 17,
} as const

interface Request {
  readonly name?: string
  readonly flags?: number
  readonly payload?: Buffer
  readonly targets?: number
  /** Bytes to reserve for an answer that is longer than the request. */
  readonly room?: number
  readonly udev?: boolean
  /** Added to the error message. */
  readonly detail?: string
}

function command(
  kind: keyof typeof COMMANDS,
  { name = '', flags = 0, payload = Buffer.alloc(0), targets = 0, room = 0, udev = false, detail }: Request,
): { answer: Buffer; payload: Buffer } {
  if (Buffer.byteLength(name) >= NAME.length) throw new TypeError(`the device name is too long: ${name}`)
  const answer = Buffer.alloc(HEADER + Math.max(room, payload.length))
  answer.writeUInt32LE(4, 0)
  answer.writeUInt32LE(answer.length, 12)
  answer.writeUInt32LE(HEADER, 16)
  answer.writeUInt32LE(targets, 20)
  answer.writeUInt32LE(flags, 28)
  answer.writeUInt32LE(udev ? NO_SCANS : 0, 32)
  answer.write(name, NAME.at)
  payload.copy(answer, HEADER)
  const fd = openSync(CONTROL, 'r+')
  try {
    const number = request('both', 0xfd, COMMANDS[kind], HEADER)
    ioctl(fd, number, answer, detail === undefined ? kind : `${kind} ${detail}`, name)
  } finally {
    closeSync(fd)
  }
  return { answer, payload: answer.subarray(answer.readUInt32LE(16), answer.readUInt32LE(12)) }
}

function deviceOf(answer: Buffer): DmDevice {
  const flags = answer.readUInt32LE(28)
  const device = answer.readUInt32LE(40)
  return {
    major: (device >>> 8) & 0xfff,
    minor: (device & 0xff) | ((device >>> 12) & 0xfff00),
    openCount: answer.readInt32LE(24),
    suspended: (flags & DM_SUSPEND) !== 0,
    ready: (flags & DM_ACTIVE_PRESENT) !== 0,
    readOnly: (flags & DM_READONLY) !== 0,
    removedWhenUnused: (flags & DM_DEFERRED_REMOVE) !== 0,
  }
}

function encodeTarget({ start, sectors, type, parameters }: DmTarget): Buffer {
  const text = Buffer.from(`${parameters}\0`)
  const spec = Buffer.alloc(Math.ceil((TARGET + text.length) / 8) * 8)
  spec.writeBigUInt64LE(start, 0)
  spec.writeBigUInt64LE(sectors, 8)
  spec.writeUInt32LE(spec.length, 20)
  spec.write(type, 24)
  text.copy(spec, TARGET)
  return spec
}

function decodeTarget(spec: Buffer): DmTarget {
  const text = (from: number, to: number): string => {
    const field = spec.subarray(from, to)
    return field.toString('utf8', 0, Math.max(0, field.indexOf(0)))
  }
  return {
    start: spec.readBigUInt64LE(0),
    sectors: spec.readBigUInt64LE(8),
    type: text(24, TARGET),
    parameters: text(TARGET, spec.length),
  }
}
