import { link, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isErrno } from '../errors.js'
import { namesIn } from './abandoned.js'
import { isAlive, processMark } from '../sys/process-mark.js'
import { temporaryName } from '../sys/temporary-name.js'

/**
 * A lock for systems without flock(2): a file that names the process that holds it.
 *
 * 1. link(2) creates the file with its content, so readers never see it half written.
 * 2. Only its maker removes it, unless the maker is dead. Then another process may remove it if it holds a removal lock
 *    of the same kind and has read under it that the maker is dead. So no process removes a lock that another process
 *    has just taken over.
 * 3. The first process that sees a removal lock whose maker is dead removes it. Two processes can collide there if a
 *    third was killed between two system calls.
 * 4. A draft may be removed before it is linked, by cleanup that takes it for a dead process's file. The process that
 *    cleans up holds the lock, or held it a moment ago.
 *
 * @returns a function that releases the lock, or `undefined` if another process holds it or held it a moment ago
 */
export async function tryLockFile(path: string): Promise<(() => Promise<void>) | undefined> {
  if (await make(path)) return () => rm(path, { force: true })
  if (!(await isLeft(path))) return undefined
  const removal = `${path}${REMOVAL}`
  if (!(await make(removal))) {
    if (await isLeft(removal)) await rm(removal, { force: true })
    return undefined
  }
  try {
    if (!(await isLeft(path))) return undefined
    await rm(path, { force: true })
    return (await make(path)) ? () => rm(path, { force: true }) : undefined
  } finally {
    await rm(removal, { force: true })
  }
}

/** Removes the lock files in a directory whose processes have ended. */
export async function clearLockFiles(directory: string): Promise<void> {
  for (const name of namesIn(directory)) {
    const path = join(directory, name)
    if (name.endsWith(`.held${REMOVAL}`) && (await isLeft(path))) await rm(path, { force: true })
    if (name.endsWith('.held') && (await isLeft(path))) await (await tryLockFile(path))?.()
  }
}

const REMOVAL = '.stale'

async function make(path: string): Promise<boolean> {
  const own = join(dirname(path), temporaryName(basename(path)))
  await writeFile(own, processMark(), { flag: 'wx', mode: 0o600 })
  try {
    await link(own, path)
    return true
  } catch (error) {
    if (isErrno(error, 'EEXIST', 'ENOENT')) return false
    throw error
  } finally {
    await rm(own, { force: true })
  }
}

/**
 * Whether the lock exists and its maker is dead. A lock released meanwhile does not count: another process may have
 * taken it.
 */
async function isLeft(path: string): Promise<boolean> {
  try {
    return !isAlive(await readFile(path, 'utf8'))
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}
