import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises'
import { freemem, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileSystemOf } from '#layerstack/sys/file-system.js'
import { removeTree } from '../test/support/mounts.js'
import { findProgram, run } from '../test/support/program.js'
import { GIB } from './inputs.js'

/** Where a run works. */
export interface Disk extends AsyncDisposable {
  /** `ext4 on a file in memory`, or the directory's file system. */
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
/** Of the memory that is free: what else runs here needs some, too. */
const SHARE = 0.65

/**
 * A directory by its path; or, for `ext4`, `xfs` and `btrfs`, a new file system of this kind, in a sparse file in memory:
 * what is measured then is the work, not the disk, and syncing is as good as free for all.
 */
export async function openDisk(pathOrKind: string): Promise<Disk> {
  const kind = KINDS.find((known) => known === pathOrKind)
  return kind === undefined ? directoryDisk(resolve(pathOrKind)) : memoryDisk(kind)
}

/** Whether this is somebody who may make, and mount, a new btrfs. */
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
