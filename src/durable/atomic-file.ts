import { closeSync, fchmodSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isErrno, isNoSpace, storeError } from '../errors.js'
import { clearDirectory } from './read-file.js'
import { temporaryName } from '../sys/temporary-name.js'
import { makeDirectory } from './make-directory.js'
import { syncDirectory } from './sync-directory.js'
import { syncFile } from './sync-file.js'

export interface AtomicFileOptions {
  /** Set exactly, regardless of the umask. @default 0o600 */
  readonly mode?: number
  /** Directory for the temporary file; must be on the same file system. @default the file's own directory */
  readonly aside?: string
}

/**
 * Writes a whole file atomically. After a crash at any point, the path holds either its previous content or all of
 * `data`. Once this resolves, `data` is durable. Creates the directory if it is missing.
 *
 * 1. Content reaches the disk before the name: the file is synced before the rename.
 * 2. Readers never see a partial file: it is written under a temporary name and renamed.
 * 3. A full disk is `NO_SPACE`.
 * 4. A crash leaves at most the temporary file, which `removeAbandoned` removes.
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  { mode = 0o600, aside }: AtomicFileOptions = {},
): Promise<void> {
  const directory = dirname(path)
  const temporary = join(aside ?? directory, temporaryName(basename(path)))
  try {
    await makeDirectory(directory)
    await writeFileSynced(temporary, data, mode)
    rename(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw isNoSpace(error) ? storeError(error, 'NO_SPACE', `could not write ${path}`) : error
  }
  await syncDirectory(directory)
}

/** Also replaces an empty directory, which a disk fault may have left in place of the file. */
function rename(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if (!isErrno(error, 'EISDIR')) throw error
    clearDirectory(to)
    renameSync(from, to)
  }
}

/** Writes a new file. It is durable once it and its directory are synced. */
export function writeNewFile(
  path: string,
  data: string | Uint8Array,
  { mode = 0o600 }: AtomicFileOptions = {},
): void {
  const fd = openNewFile(path, data, mode)
  closeSync(fd)
}

async function writeFileSynced(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  const fd = openNewFile(path, data, mode)
  try {
    await syncFile(fd)
  } finally {
    closeSync(fd)
  }
}

function openNewFile(path: string, data: string | Uint8Array, mode: number): number {
  const fd = openSync(path, 'wx', mode)
  try {
    writeFileSync(fd, data)
    fchmodSync(fd, mode)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}
