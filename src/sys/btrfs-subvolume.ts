import { closeSync, lstatSync } from 'node:fs'
import { descriptorPath, entryPath, openDirectoryBelow } from './descriptor-path.js'
import { systemError } from './errno.js'
import { holdingDirectory, ioctl, ioctlElsewhere, request, withDirectory } from './ioctl.js'
import type { HostPath } from './libc.js'

const MAGIC = 0x94
const VOLUME_ARGS = 4096
const SUBVOL_CREATE = request('write', MAGIC, 14, VOLUME_ARGS)
const SNAP_DESTROY = request('write', MAGIC, 15, VOLUME_ARGS)
const SNAP_CREATE_V2 = request('write', MAGIC, 23, VOLUME_ARGS)
const SUBVOL_GETFLAGS = request('read', MAGIC, 25, 8)
const SUBVOL_SETFLAGS = request('write', MAGIC, 26, 8)
const GET_SUBVOL_INFO = request('read', MAGIC, 60, 504)
const GET_SUBVOL_ROOTREF = request('both', MAGIC, 61, 4096)
const INO_LOOKUP_USER = request('both', MAGIC, 62, 4096)

/** The inode number of every subvolume's root. */
const SUBVOLUME_ROOT = 256

const READ_ONLY = 2n

/** The file system's metadata of a subvolume. */
export interface SubvolumeInfo {
  readonly id: bigint
  readonly uuid: string
  /** UUID of the subvolume that this is a snapshot of; zeros if it is not a snapshot. */
  readonly parentUuid: string
  /** The transaction that made it. Anything with a later transaction has changed since. */
  readonly madeAt: bigint
  /** The transaction that last changed it; one before `madeAt` if nothing has changed since. */
  readonly changedAt: bigint
  /** When it was made, by the file system's clock. */
  readonly madeAtNs: bigint
}

/** Options of calls that wait until data written to a subvolume is on disk or discarded. */
export interface SubvolumeCallOptions {
  /** Makes the call on another thread, which costs a tenth of a millisecond. @default false */
  readonly elsewhere?: boolean
}

export function isSubvolume(path: HostPath): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat?.isDirectory() === true && stat.ino === SUBVOLUME_ROOT
}

/** Makes an empty subvolume. It is durable once the directory is synced. */
export function createSubvolume(directory: string, name: string): void {
  withDirectory(directory, (fd) =>
    ioctl(fd, SUBVOL_CREATE, named(8, Buffer.from(name)), 'BTRFS_IOC_SUBVOL_CREATE', `${directory}/${name}`),
  )
}

/** Makes a durable, writable snapshot of a subvolume, including everything written to it so far. */
export async function snapshotSubvolume(
  source: string,
  directory: string,
  name: string,
  { elsewhere = false }: SubvolumeCallOptions = {},
): Promise<void> {
  const call = elsewhere ? ioctlElsewhere : ioctl
  await holdingDirectory(source, (from) =>
    holdingDirectory(directory, (fd) => {
      const args = named(56, Buffer.from(name))
      args.writeBigInt64LE(BigInt(from), 0)
      return call(fd, SNAP_CREATE_V2, args, 'BTRFS_IOC_SNAP_CREATE_V2', `${directory}/${name}`)
    }),
  )
}

/**
 * Destroys a subvolume and all subvolumes nested in it, deepest first. Unprivileged users get `EPERM` if the file
 * system is not mounted with `user_subvol_rm_allowed`; an empty subvolume can then be removed with rmdir.
 */
export async function destroySubvolume(
  directory: HostPath,
  name: Buffer,
  { elsewhere = false }: SubvolumeCallOptions = {},
): Promise<void> {
  const call = elsewhere ? ioctlElsewhere : ioctl
  await holdingDirectory(directory, async (fd) => {
    const path = entryPath(fd, name)
    await withNestedSubvolumes(path, (parent, nested) => destroySubvolume(parent, nested, { elsewhere }))
    await call(fd, SNAP_DESTROY, named(8, name), 'BTRFS_IOC_SNAP_DESTROY', path)
  })
}

export function subvolumeInfo(path: HostPath): SubvolumeInfo {
  const info = Buffer.alloc(504)
  withDirectory(path, (fd) => ioctl(fd, GET_SUBVOL_INFO, info, 'BTRFS_IOC_GET_SUBVOL_INFO', path))
  return {
    id: info.readBigUInt64LE(0),
    uuid: info.toString('hex', 296, 312),
    parentUuid: info.toString('hex', 312, 328),
    madeAt: info.readBigUInt64LE(352),
    changedAt: info.readBigUInt64LE(344),
    madeAtNs: info.readBigUInt64LE(392) * 1_000_000_000n + BigInt(info.readUInt32LE(400)),
  }
}

/** Clears the read-only flag of a subvolume, if set. Only its owner and root may do this. */
export function makeWritable(path: HostPath): void {
  const flags = Buffer.alloc(8)
  withDirectory(path, (fd) => {
    ioctl(fd, SUBVOL_GETFLAGS, flags, 'BTRFS_IOC_SUBVOL_GETFLAGS', path)
    if ((flags.readBigUInt64LE() & READ_ONLY) === 0n) return
    flags.writeBigUInt64LE(flags.readBigUInt64LE() & ~READ_ONLY)
    ioctl(fd, SUBVOL_SETFLAGS, flags, 'BTRFS_IOC_SUBVOL_SETFLAGS', path)
  })
}

const ROOTREFS = 255

export interface NestedSubvolume {
  /** The directory that holds it, relative to the enclosing subvolume; empty, or ends with a slash. */
  readonly directory: Buffer
  readonly name: Buffer
}

/** Returns the subvolumes nested directly in this one. */
export function nestedSubvolumes(path: HostPath): NestedSubvolume[] {
  return withDirectory(path, (fd) => nestedIn(fd, path))
}

function nestedIn(fd: number, path: HostPath): NestedSubvolume[] {
  return [...childRoots(fd, path)].map(({ treeId, directory }) => {
    const place = Buffer.alloc(4096)
    place.writeBigUInt64LE(directory, 0)
    place.writeBigUInt64LE(treeId, 8)
    ioctl(fd, INO_LOOKUP_USER, place, 'BTRFS_IOC_INO_LOOKUP_USER', path)
    return {
      directory: Buffer.from(cText(place.subarray(272))),
      name: Buffer.from(cText(place.subarray(16, 272))),
    }
  })
}

/**
 * Calls `work` for each of the `nestedSubvolumes`.
 * @param work receives a path of the directory that holds it. The path is valid while `work` runs; symlinks in the
 *   subvolume cannot redirect it.
 */
export async function withNestedSubvolumes(
  path: HostPath,
  work: (directory: string, name: Buffer) => Promise<void>,
): Promise<void> {
  await holdingDirectory(path, async (fd) => {
    for (const { directory, name } of nestedIn(fd, path)) {
      const holder = openDirectoryBelow(fd, directory)
      try {
        await work(`${descriptorPath(holder)}/.`, name)
      } finally {
        closeSync(holder)
      }
    }
  })
}

function childRoots(fd: number, path: HostPath): { readonly treeId: bigint; readonly directory: bigint }[] {
  const found: { treeId: bigint; directory: bigint }[] = []
  for (let from = 0n; ;) {
    const page = Buffer.alloc(4096)
    page.writeBigUInt64LE(from, 0)
    const more = overflows(() => ioctl(fd, GET_SUBVOL_ROOTREF, page, 'BTRFS_IOC_GET_SUBVOL_ROOTREF', path))
    const count = page.readUInt8(8 + ROOTREFS * 16)
    for (let at = 8; at < 8 + count * 16; at += 16) {
      found.push({ treeId: page.readBigUInt64LE(at), directory: page.readBigUInt64LE(at + 8) })
    }
    const last = found.at(-1)
    if (!more || last === undefined) return found
    from = last.treeId + 1n
  }
}

function overflows(work: () => void): boolean {
  try {
    work()
    return false
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EOVERFLOW') return true
    throw error
  }
}

/** `btrfs_ioctl_vol_args` and its second version differ in the offset of the name. */
function named(offset: number, name: Buffer): Buffer {
  if (name.length > 255) throw systemError('ENAMETOOLONG', 'ioctl', name)
  const args = Buffer.alloc(VOLUME_ARGS)
  name.copy(args, offset)
  return args
}

function cText(field: Buffer): Buffer {
  return field.subarray(0, field.indexOf(0))
}
