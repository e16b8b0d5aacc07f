import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises'
import { freemem, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileSystemOf } from '#layerstack/sys/file-system.js'
import { removeTree } from '../test/support/mounts.js'
import { findProgram, run } from '../test/support/program.js'
import { GIB } from './inputs.js'

/** A directory that a run works in, and the file system that it is on. */
export interface Disk extends AsyncDisposable {
  /** Such as `ext4 on a file in memory`, or `a directory`. */
  readonly name: string
  readonly directory: string
  /** `extfs`, `xfs`, `btrfs`, … */
  readonly fileSystem: string
}

const KINDS = ['ext4', 'xfs', 'btrfs'] as const
type Kind = (typeof KINDS)[number]

const FORMAT: Record<Kind, readonly string[]> = {
  ext4: ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0'],
  xfs: ['-q', '-f'],
  btrfs: ['-q', '-f'],
}
const MEMORY = '/dev/shm'
/** The part of the free memory that a file system may use; the benchmark needs the rest. */
const SHARE = 0.65

/**
 * Makes a directory below a path. For `ext4`, `xfs` or `btrfs`, makes a new file system of that kind in a sparse
 * in-memory file instead. The disk then has no influence, and syncs are almost free for all contenders.
 */
export async function openDisk(pathOrKind: string): Promise<Disk> {
  const kind = KINDS.find((known) => known === pathOrKind)
  return kind === undefined ? directoryDisk(resolve(pathOrKind)) : memoryDisk(kind)
}

/** Whether this process can make and mount a new btrfs. */
export function mayMakeBtrfs(): boolean {
  return (
    process.getuid?.() === 0 && existsSync('/dev/loop-control') && findProgram('mkfs.btrfs') !== undefined
  )
}

async function directoryDisk(parent: string): Promise<Disk> {
  await mkdir(parent, { recursive: true })
  const directory = await mkdtemp(join(parent, 'layerstack-bench-'))
  const fileSystem = fileSystemOf(directory).name
  return { name: 'a directory', directory, fileSystem, [Symbol.asyncDispose]: () => removeTree(directory) }
}

async function memoryDisk(kind: Kind): Promise<Disk> {
  const home = await mkdtemp(join(MEMORY, 'layerstack-bench-'))
  const directory = await mkdtemp(join(tmpdir(), `layerstack-bench-${kind}-`))
  const dispose = async (): Promise<void> => {
    await removeTree(directory)
    await rm(home, { recursive: true })
  }
  try {
    const file = join(home, kind)
    await using handle = await open(file, 'wx')
    await handle.truncate(Math.min(32 * GIB, Math.floor(SHARE * freemem())))
    await run(`mkfs.${kind}`, [...FORMAT[kind], file])
    await run('mount', ['-o', 'loop,discard', file, directory])
    const fileSystem = fileSystemOf(directory).name
    return { name: `${kind} on a file in memory`, directory, fileSystem, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}
