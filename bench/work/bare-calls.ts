import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  futimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { flistxattr } from '#layerstack/sys/xattr.js'
import { MIB } from '../inputs.js'

const buffer = Buffer.allocUnsafeSlow(MIB)

/**
 * Reads or copies a tree from Node in one thread, with only the system calls that this needs. It is the floor of a
 * commit, without the tar, its digest and its tar-split.
 * @param to a directory to make as a copy of `from`; without it, files are only read
 */
export function bareCalls(from: string, to?: string): void {
  if (to !== undefined) mkdirSync(to)
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), to && join(to, entry.name)]
    if (entry.isDirectory()) bareCalls(source, target)
    else readFile(source, target)
  }
}

function readFile(source: string, target: string | undefined): void {
  const fd = openSync(source, 'r')
  const { uid, gid, mode, atime, mtime, size } = fstatSync(fd)
  flistxattr(fd)
  const out = target === undefined ? undefined : openSync(target, 'wx')
  for (let done = 0; done < size;) {
    const count = readSync(fd, buffer, 0, Math.min(buffer.length, size - done), null)
    if (out !== undefined) writeSync(out, buffer, 0, count)
    done += count
  }
  closeSync(fd)
  if (out === undefined) return
  fchownSync(out, uid, gid)
  fchmodSync(out, mode)
  futimesSync(out, atime, mtime)
  closeSync(out)
}
