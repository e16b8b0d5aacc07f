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
 * The system calls that reading a tree takes, or copying it, made from Node by one thread; what a commit does besides, the
 * tar, its digest and its record, is left out.
 * @param to a directory to be made, with all that is in the other one
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
