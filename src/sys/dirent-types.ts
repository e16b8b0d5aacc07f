import { closeSync, constants, openSync } from 'node:fs'
import { checked } from './errno.js'
import { bindSyscall } from './libc.js'

const getdents64 = bindSyscall({ x64: 217, others: 61 }, 'int fd, void *entries, size_t size')

const LENGTH_AT = 16
const TYPE_AT = 18
const DT_UNKNOWN = 0

/**
 * Whether directory entries on this file system have a type, which overlayfs requires. Node hides a missing type:
 * `readdir` with types then queries each entry.
 */
export function tellsTypes(directory: string): boolean {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    const entries = Buffer.alloc(32_768)
    const end = checked(getdents64(fd, entries, entries.length), 'getdents64', directory)
    for (let at = 0; at < end; at += entries.readUInt16LE(at + LENGTH_AT)) {
      if (entries[at + TYPE_AT] === DT_UNKNOWN) return false
    }
    return true
  } finally {
    closeSync(fd)
  }
}
