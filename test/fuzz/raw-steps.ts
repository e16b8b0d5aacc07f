import { constants } from 'node:fs'
import type { ByteString } from '#layerstack/fs/bytes.js'
import type { SyncFile, SyncFs, SyncStat } from '#layerstack/fs/sync-fs.js'
import type { RawStep } from './step.js'

const FLAGS: Readonly<Record<string, number>> = {
  '': 0,
  creat: constants.O_CREAT,
  excl: constants.O_EXCL,
  trunc: constants.O_TRUNC,
  append: constants.O_APPEND,
}
const MOST = 100_000

/** Takes a step. @returns its result as text; `shown` formats the compared fields of a stat */
export function takeRaw(
  fs: SyncFs,
  step: RawStep,
  shown: (stat: SyncStat) => string,
): string | undefined | void {
  const path = step.path as ByteString
  switch (step.do) {
    case 'write': {
      const bits = step.flags.split(' ').reduce((sum, flag) => sum | (FLAGS[flag] ?? 0), constants.O_WRONLY)
      return inFile(fs.open(path, bits, step.mode), (file) => {
        file.write(Buffer.from(step.content), step.at)
      })
    }
    case 'read':
      return inFile(fs.open(path, constants.O_RDONLY), (file) => {
        const buffer = Buffer.alloc(MOST)
        return buffer.toString('latin1', 0, file.read(buffer, 0))
      })
    case 'lstat':
      return shown(fs.lstat(path))
    case 'readdir':
      return sorted(fs.readdir(path).map(({ name, type }) => `${name} ${type}`))
    case 'readlink':
      return fs.readlink(path)
    case 'mkdir':
      return fs.mkdir(path, step.mode)
    case 'rmdir':
      return fs.rmdir(path)
    case 'unlink':
      return fs.unlink(path)
    case 'rename':
      return fs.rename(path, step.to as ByteString)
    case 'link':
      return fs.link(path, step.to as ByteString)
    case 'symlink':
      return fs.symlink(step.target as ByteString, path)
    case 'mknod':
      return fs.mknod(path, step.type, step.mode, deviceOf(step))
    case 'chmod':
      return fs.chmod(path, step.mode)
    case 'chown':
      return fs.chown(path, step.uid, step.gid)
    case 'utimes':
      return fs.utimes(path, undefined, step.mtimeNs)
    case 'truncate':
      return fs.truncate(path, step.size)
    case 'listxattr':
      return sorted(fs.listxattr(path))
    case 'getxattr':
      return String(fs.getxattr(path, step.name as ByteString)?.toString('latin1'))
    case 'setxattr':
      return fs.setxattr(path, step.name as ByteString, Buffer.from(step.value, 'latin1'), step.flag)
    case 'removexattr':
      return fs.removexattr(path, step.name as ByteString)
  }
}

/** The device number of a whiteout if `minor` is 0, otherwise another. */
function deviceOf({ type, minor }: { readonly type: string; readonly minor: number }) {
  return { major: type === 'char' && minor === 0 ? 0 : 1, minor }
}

export function sorted(names: readonly string[]): string {
  return names.toSorted().join()
}

function inFile<T>(file: SyncFile, work: (file: SyncFile) => T): T {
  try {
    return work(file)
  } finally {
    file.close()
  }
}
