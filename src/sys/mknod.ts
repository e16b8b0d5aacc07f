import { checked } from './errno.js'
import { bindSyscall, cString, type HostPath } from './libc.js'

const mknodat = bindSyscall(
  { x64: 259, others: 33 },
  'int dir, const void *path, uint32_t mode, uint64_t device',
)

const AT_FDCWD = -100

const TYPES = { fifo: 0o010000, char: 0o020000, block: 0o060000, socket: 0o140000 } as const

/** Makes a node; the umask applies. A character device 0:0 (a whiteout) needs no privilege since Linux 5.8. */
export function mknod(path: HostPath, type: keyof typeof TYPES, mode: number, major = 0, minor = 0): void {
  checked(mknodat(AT_FDCWD, cString(path), TYPES[type] | mode, deviceNumber(major, minor)), 'mknod', path)
}

/** Linux's 64-bit `dev_t` (gnu_dev_makedev). */
export function deviceNumber(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)]
  return (
    ((high & 0xfffff000n) << 32n) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | (low & 0xffn)
  )
}

export function deviceMajor(device: bigint): number {
  return Number(((device >> 32n) & 0xfffff000n) | ((device >> 8n) & 0xfffn))
}

export function deviceMinor(device: bigint): number {
  return Number(((device >> 12n) & 0xffffff00n) | (device & 0xffn))
}
