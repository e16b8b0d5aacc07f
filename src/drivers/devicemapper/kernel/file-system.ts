import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { isErrno, StoreError } from '../../../errors.js'
import { growExt4, growXfs } from '../../../sys/grow-file-system.js'
import { mount, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY } from '../../../sys/mount.js'
import { isInstalled, mkfs, runProgram } from '../../system-program.js'
import type { FileSystemType } from '../options.js'

/** The content of a device's first blocks. */
export interface Superblock {
  readonly type: FileSystemType
  readonly uuid: string
  readonly blockSize: number
  readonly blocks: bigint
  /** The last user recorded an error: ext4 needs a check. */
  readonly hasErrors: boolean
}

const EXT4_ERROR_FS = 2
/** From this exit code on, e2fsck left errors; below it, all errors were repaired. */
const FSCK_FAILED = 4
const PROGRAMS = { xfs: 'mkfs.xfs', ext4: 'mkfs.ext4' } as const
const PACKAGES = { xfs: 'xfsprogs', ext4: 'e2fsprogs' } as const
/** Leaves nothing to initialize in the background, which every snapshot would have to do again. */
const ARGUMENTS: Readonly<Record<FileSystemType, readonly string[]>> = {
  xfs: ['-q'],
  ext4: ['-q', '-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0'],
}

/** Creates a file system of the wanted type. Without one, XFS if available, else ext4. */
export async function makeFileSystem(
  path: string,
  wanted: string | undefined,
  more: readonly string[],
): Promise<void> {
  const type = wanted === 'xfs' || (wanted !== 'ext4' && canMake('xfs')) ? 'xfs' : 'ext4'
  if (!canMake(type)) {
    throw new StoreError(
      'ENGINE_UNSUPPORTED',
      `${PROGRAMS[type]} is not installed, or the kernel does not support ${type}`,
      { hint: `install ${PACKAGES[type]}, or name another file system with dm.fs` },
    )
  }
  await mkfs(PROGRAMS[type], [...ARGUMENTS[type], ...more, path], 'check dm.basesize and dm.mkfsarg')
}

/** Returns `undefined` if the device has no file system that this driver makes. */
export function readSuperblock(path: string): Superblock | undefined {
  const bytes = Buffer.alloc(4096)
  const fd = openSync(path, 'r')
  try {
    readSync(fd, bytes, 0, bytes.length, 0)
  } finally {
    closeSync(fd)
  }
  if (bytes.toString('latin1', 0, 4) === 'XFSB') {
    return {
      type: 'xfs',
      uuid: uuidAt(bytes, 32),
      blockSize: bytes.readUInt32BE(4),
      blocks: bytes.readBigUInt64BE(8),
      hasErrors: false,
    }
  }
  if (bytes.readUInt16LE(0x438) === 0xef53) {
    const high = (bytes.readUInt32LE(0x460) & 0x80) === 0 ? 0 : bytes.readUInt32LE(0x550)
    return {
      type: 'ext4',
      uuid: uuidAt(bytes, 0x468),
      blockSize: 1024 << bytes.readUInt32LE(0x418),
      blocks: (BigInt(high) << 32n) | BigInt(bytes.readUInt32LE(0x404)),
      hasErrors: (bytes.readUInt16LE(0x43a) & EXT4_ERROR_FS) !== 0,
    }
  }
  return undefined
}

/** Repairs an ext4 that could not write everything, for instance because the pool was full. */
export async function repairFileSystem(path: string): Promise<void> {
  try {
    await runProgram('e2fsck', ['-fy', path])
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (typeof code === 'number' && code < FSCK_FAILED) return
    throw new StoreError(
      'STORE_CORRUPT',
      `the file system on ${path} is damaged, and e2fsck could not repair it`,
      {
        cause: error,
        hint: 'install e2fsprogs, or remove the layer',
      },
    )
  }
}

export interface MountSettings {
  readonly options: string
  /** `MS_*` flags, in addition to those in `options`. */
  readonly mountFlags: number
  readonly xfsRetries: string
  readonly readOnly: boolean
}

/**
 * Mounts the device's file system. XFS gets `nouuid`, since all layers have the base's UUID. ext4 gets
 * `errors=remount-ro`: it stops at a failed write, while its journal still records what should be there.
 */
export function mountFileSystem(path: string, target: string, settings: MountSettings): Superblock {
  const superblock = readSuperblock(path)
  if (superblock === undefined) {
    throw new StoreError('STORE_CORRUPT', `${path} has neither an XFS nor an ext4 file system`, {
      path,
      hint: 'check that the thin pool is the one that the root was made with',
    })
  }
  const { type } = superblock
  const own = [type === 'xfs' ? 'nouuid' : 'errors=remount-ro']
  const words = settings.options.split(',').filter((word) => word !== '')
  const { flags: named, data } = flagsIn([...own, ...words])
  const flags = named | settings.mountFlags | (settings.readOnly ? MS_RDONLY : 0)
  mount(target, { source: path, type, flags, data })
  if (type === 'xfs') limitRetries(path, settings.xfsRetries)
  return superblock
}

/** Grows a mounted file system to fill its device. */
export function growFileSystem(target: string, { type, blockSize }: Superblock, size: bigint): void {
  const blocks = size / BigInt(blockSize)
  if (type === 'xfs') growXfs(target, blocks)
  else growExt4(target, blocks)
}

function canMake(type: FileSystemType): boolean {
  return isInstalled(PROGRAMS[type]) && kernelHas(type)
}

function kernelHas(type: FileSystemType): boolean {
  const listed = (): boolean => readFileSync('/proc/filesystems', 'utf8').includes(`\t${type}\n`)
  if (listed()) return true
  try {
    // This cannot succeed, but makes the kernel load its module if it has one.
    mount('/', { source: 'none', type })
  } catch {
    return listed()
  }
  return true
}

function uuidAt(bytes: Buffer, at: number): string {
  const hex = bytes.toString('hex', at, at + 16)
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** Options of mount(8) that are flags of mount(2). */
const FLAGS: Readonly<Record<string, number>> = {
  ro: MS_RDONLY,
  nosuid: MS_NOSUID,
  nodev: MS_NODEV,
  noexec: MS_NOEXEC,
  sync: 16,
  dirsync: 128,
  noatime: 1024,
  nodiratime: 2048,
  relatime: 1 << 21,
  strictatime: 1 << 24,
  lazytime: 1 << 25,
}

function flagsIn(options: readonly string[]): { flags: number; data: string } {
  const flags = options.reduce((sum, option) => sum | (FLAGS[option] ?? 0), 0)
  return { flags, data: options.filter((option) => FLAGS[option] === undefined).join(',') }
}

/** Without a limit, XFS waits for a full pool to grow, and so do callers that sync. */
function limitRetries(path: string, retries: string): void {
  try {
    writeFileSync(`/sys/fs/xfs/${basename(path)}/error/metadata/ENOSPC/max_retries`, retries)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  }
}
