import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  type Dirent,
} from 'node:fs'
import { isErrno, storeError } from '../../errors.js'
import { gone } from '../../fs/trees/remove-tree.js'
import { descriptorPath, hasDescriptorPaths } from '../../sys/descriptor-path.js'
import { systemError } from '../../sys/errno.js'
import { mountIdOf } from '../../sys/mount-id.js'
import { mountPointsBelow } from '../../sys/mount-table.js'
import { O_PATH } from '../../sys/openat2.js'
import type { Pace } from './pace.js'

/**
 * Removes a tree of the host, including names of any bytes. The tree may be missing. Other programs may change it
 * meanwhile: a directory that they swap for a symlink is removed as the symlink. Mounts in the tree stay untouched, and
 * the job fails with `EBUSY`. No progress.
 */
export interface RemoveTreeJob {
  readonly kind: 'removeTree'
  readonly path: string
}

export async function removeTreeAt(job: RemoveTreeJob, pace: Pace): Promise<void> {
  try {
    for (const _ of removingTree(job.path)) {
      const turn = pace.yieldIfDue()
      if (turn !== undefined) await turn
    }
  } catch (error) {
    throw storeError(error, 'SYSTEM', `could not remove ${job.path}`)
  }
}

/** A tree within these limits is removed faster than a worker thread starts. */
const FEW = 32
const SMALL = 1 << 20

/** Removes a tree of a few small files at once. Returns false if it is larger or a step fails. */
export function removeSmallTree(path: string): boolean {
  try {
    if (!isSmall(path)) return false
    let steps = 0
    for (const _ of removingTree(path)) if (++steps > 2 * FEW) return false
    return true
  } catch {
    return false
  }
}

function isSmall(path: string): boolean {
  let count = 0
  let size = 0
  const fits = (each: Buffer): boolean => {
    const stat = lstatSync(each, { throwIfNoEntry: false })
    size += stat?.isFile() === true ? stat.size : 0
    if (++count > FEW || size > SMALL) return false
    if (stat?.isDirectory() !== true) return true
    const directory = Directory.open(each)
    try {
      return directory.entries().every(({ name }) => fits(directory.entry(name)))
    } finally {
      directory.close()
    }
  }
  return fits(Buffer.from(path))
}

/** Deeper directories are moved up first, because each level takes a descriptor. */
const DEEP = 100
/** How often a directory is emptied if other programs fill it meanwhile. */
const PASSES = 5

interface Removal {
  readonly top: Directory
  /** Names in `top` of directories that were moved there. */
  readonly moved: Buffer[]
}

function* removingTree(path: string): Generator<void, void, void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isDirectory()) return void gone(() => unlinkSync(path))
  const top = Directory.open(Buffer.from(path))
  try {
    if (top.mount === undefined) refuseMountsBelow(path)
    const removal = { top, moved: [] }
    yield* emptying(top, removal, 0)
    for (let name = removal.moved.pop(); name !== undefined; name = removal.moved.pop()) {
      yield* removingEntry(top, name, true, removal, 0)
    }
  } finally {
    top.close()
  }
  gone(() => rmdirSync(path))
}

function* emptying(directory: Directory, removal: Removal, depth: number): Generator<void, void, void> {
  for (const entry of gone(() => directory.entries()) ?? []) {
    yield
    yield* removingEntry(directory, entry.name, entry.isDirectory(), removal, depth + 1)
  }
}

function* removingEntry(
  parent: Directory,
  name: Buffer,
  isDirectory: boolean,
  removal: Removal,
  depth: number,
): Generator<void, void, void> {
  const path = parent.entry(name)
  let triedAs = isDirectory
  for (let pass = 1; ; pass++) {
    try {
      if (!triedAs) return void gone(() => unlinkSync(path))
      if (depth > DEEP) return moveUp(path, removal)
      yield* removingDirectory(path, removal, depth)
      return
    } catch (error) {
      // Another program replaced the object with one of another type, or added one to the directory.
      if (pass === PASSES) throw error
      if (triedAs ? isErrno(error, 'ENOTDIR') : isErrno(error, 'EISDIR', 'EPERM'))
        triedAs = isNowDirectory(path)
      else if (!isErrno(error, 'ENOTEMPTY')) throw error
    }
  }
}

function* removingDirectory(path: Buffer, removal: Removal, depth: number): Generator<void, void, void> {
  const directory = gone(() => Directory.open(path))
  if (directory === undefined) return
  try {
    if (
      directory.mount !== removal.top.mount ||
      (directory.mount === undefined && directory.device !== removal.top.device)
    )
      throw systemError('EBUSY', 'rmdir', path)
    yield* emptying(directory, removal, depth)
  } finally {
    directory.close()
  }
  gone(() => rmdirSync(path))
}

function moveUp(path: Buffer, { top, moved }: Removal): void {
  const name = Buffer.from(`far-${randomBytes(12).toString('hex')}`)
  const isThere = gone(() => {
    renameSync(path, top.entry(name))
    return true
  })
  if (isThere === true) moved.push(name)
}

function isNowDirectory(path: Buffer): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

/** An open directory. If the system has descriptor paths, it stays the same one, whatever replaces it. */
class Directory {
  readonly mount: bigint | undefined
  readonly device: number
  readonly #path: Buffer
  readonly #fd: number | undefined

  /** A symlink is `ENOTDIR`. */
  static open(path: Buffer): Directory {
    if (hasDescriptorPaths()) {
      const fd = openSync(path, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW)
      return new Directory(Buffer.from(descriptorPath(fd)), fd)
    }
    if (!lstatSync(path).isDirectory()) throw systemError('ENOTDIR', 'open', path)
    return new Directory(path, undefined)
  }

  private constructor(path: Buffer, fd: number | undefined) {
    this.#path = path
    this.#fd = fd
    this.mount = fd === undefined ? undefined : mountIdOf(fd)
    this.device = fd === undefined ? lstatSync(path).dev : fstatSync(fd).dev
  }

  entry(name: Buffer): Buffer {
    return Buffer.concat([this.#path, SLASH, name])
  }

  entries(): Dirent<Buffer>[] {
    try {
      return this.#read()
    } catch (error) {
      if (!isErrno(error, 'EACCES')) throw error
      // The mode can lock out even the owner, such as mode 000 of a kernel's work directory.
      chmodSync(this.#path, 0o700)
      return this.#read()
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
  }

  #read(): Dirent<Buffer>[] {
    return readdirSync(this.#path, { withFileTypes: true, encoding: 'buffer' }) as unknown as Dirent<Buffer>[]
  }
}

/** Used if mounts cannot be told apart by id. */
function refuseMountsBelow(path: string): void {
  const [point] = mountPointsBelow(realpathSync(path))
  if (point !== undefined) throw systemError('EBUSY', 'rmdir', point)
}

const SLASH = Buffer.from('/')
