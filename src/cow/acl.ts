import { DEFAULT_ACL } from '../fs/host/acl.js'
import type { ByteString } from '../fs/bytes.js'
import type { FileType } from '../fs/sync-fs.js'

// POSIX ACLs in the format of Linux's extended attributes, with the behavior of fs/posix_acl.c.

const HEADER = 4
const ENTRY = 8
const VERSION = 2
const OWNER = 0x01
const USER = 0x02
const GROUP = 0x04
const NAMED_GROUP = 0x08
const MASK = 0x10
const OTHER = 0x20
const NO_ID = 0xffff_ffff
/** The tags in their required order. Tags that name a user or a group may repeat. */
const ORDER = [OWNER, USER, GROUP, NAMED_GROUP, MASK, OTHER]
const NAMED = new Set([USER, NAMED_GROUP])

/** The error with which Linux rejects this value of an ACL; `undefined` if it accepts it. */
export function aclRefusal(
  type: FileType,
  name: ByteString,
  value: Uint8Array,
): 'EINVAL' | 'EOPNOTSUPP' | 'EACCES' | undefined {
  if (type === 'symlink') return 'EOPNOTSUPP'
  const acl = Buffer.from(value)
  if (acl.length < HEADER) return 'EINVAL'
  if (acl.readUInt32LE(0) !== VERSION) return 'EOPNOTSUPP'
  if ((acl.length - HEADER) % ENTRY !== 0) return 'EINVAL'
  if (isEmptyAcl(acl)) return undefined
  if (![...entriesOf(acl)].every(isKnown)) return 'EINVAL'
  if (name === DEFAULT_ACL && type !== 'directory') return 'EACCES'
  return isValid(acl) ? undefined : 'EINVAL'
}

/** The ACL as Linux returns it: entries of unnamed tags have no ID. */
export function keptAcl(value: Uint8Array): Buffer {
  const acl = Buffer.from(value)
  for (const { at, tag } of entriesOf(acl)) if (!NAMED.has(tag)) acl.writeUInt32LE(NO_ID, at + 4)
  return acl
}

/** Whether the list has no entries. Setting such a list removes the attribute. */
export function isEmptyAcl(value: Uint8Array): boolean {
  return value.length === HEADER
}

/** The permission bits of an access ACL, and whether it says no more than they do. */
export function modeOfAcl(acl: Buffer): { readonly mode: number; readonly isMode: boolean } {
  const permissions = new Map([...entriesOf(acl)].map(({ tag, permission }) => [tag, permission]))
  const group = permissions.get(MASK) ?? permissions.get(GROUP) ?? 0
  const mode = ((permissions.get(OWNER) ?? 0) << 6) | (group << 3) | (permissions.get(OTHER) ?? 0)
  return { mode, isMode: !permissions.has(MASK) }
}

/** The ACL after chmod(2). The group bits go to the mask if one exists. */
export function changedAcl(acl: Buffer, mode: number): Buffer {
  return withClasses(acl, () => mode)
}

/** The access ACL and the mode of a new object in a directory with this default ACL. */
export function inheritedAcl(acl: Buffer, mode: number): { readonly acl: Buffer; readonly mode: number } {
  const own = withClasses(acl, (permission) => permission & mode)
  return { acl: own, mode: (mode & ~0o777) | modeOfAcl(own).mode }
}

/** @param bits maps the current permissions of owner, group or others to the new ones, both as mode bits */
function withClasses(acl: Buffer, bits: (permission: number) => number): Buffer {
  const changed = Buffer.from(acl)
  const hasMask = [...entriesOf(acl)].some(({ tag }) => tag === MASK)
  const shifts = new Map([
    [OWNER, 6],
    [hasMask ? MASK : GROUP, 3],
    [OTHER, 0],
  ])
  for (const { at, tag, permission } of entriesOf(acl)) {
    const shift = shifts.get(tag)
    if (shift === undefined) continue
    changed.writeUInt16LE((bits(permission << shift) >> shift) & 7, at + 2)
  }
  return changed
}

function isKnown({ tag, id }: { readonly tag: number; readonly id: number }): boolean {
  return ORDER.includes(tag) && !(NAMED.has(tag) && id === NO_ID)
}

/** Requires tags in order, each once unless it names a user or group, and all mandatory tags. */
function isValid(acl: Buffer): boolean {
  let place = -1
  const seen = new Set<number>()
  for (const { tag, permission } of entriesOf(acl)) {
    const next = ORDER.indexOf(tag)
    if (permission > 7 || next < place || (next === place && !NAMED.has(tag))) return false
    place = next
    seen.add(tag)
  }
  const needsMask = seen.has(USER) || seen.has(NAMED_GROUP)
  return [OWNER, GROUP, OTHER].every((tag) => seen.has(tag)) && (!needsMask || seen.has(MASK))
}

function* entriesOf(acl: Buffer) {
  for (let at = HEADER; at + ENTRY <= acl.length; at += ENTRY) {
    yield {
      at,
      tag: acl.readUInt16LE(at),
      permission: acl.readUInt16LE(at + 2),
      id: acl.readUInt32LE(at + 4),
    }
  }
}
