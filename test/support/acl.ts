import { libcAvailable } from '#layerstack/sys/libc.js'
import { lsetxattr } from '#layerstack/sys/xattr.js'
import type { Reason } from './unless.js'

/** Why ACLs cannot be set on this host; `undefined` if they can. */
export const noAcls: Reason = libcAvailable().works ? undefined : 'ACLs are set by system calls'

export const DEFAULT_ACL = 'system.posix_acl_default'
export const ACCESS_ACL = 'system.posix_acl_access'

const NO_ID = 0xffff_ffff

/** `u::rwx,u:1000:rwx,g::r-x,m::rwx,o::---` in the kernel's format. */
export const SAMPLE_ACL = aclOf([1, 7, NO_ID], [2, 7, 1000], [4, 5, NO_ID], [16, 7, NO_ID], [32, 0, NO_ID])

function aclOf(...entries: (readonly [tag: number, permissions: number, id: number])[]): Buffer {
  const bytes = Buffer.alloc(4 + 8 * entries.length)
  bytes.writeUInt32LE(2)
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + 8 * index)
    bytes.writeUInt16LE(permissions, 6 + 8 * index)
    bytes.writeUInt32LE(id, 8 + 8 * index)
  }
  return bytes
}

/** Makes new entries of a host directory inherit `SAMPLE_ACL`. */
export function giveDefaultAcl(directory: string): void {
  lsetxattr(directory, DEFAULT_ACL, SAMPLE_ACL)
}
