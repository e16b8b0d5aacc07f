import { constants } from 'node:fs'
import { attempt, operation, readText, withFile, type Operation } from './operation.js'

const ACCESS = ['RDONLY', 'WRONLY', 'RDWR'] as const
const WITH = [
  '',
  'CREAT',
  'CREAT EXCL',
  'EXCL',
  'TRUNC',
  'CREAT TRUNC',
  'APPEND',
  'NOFOLLOW',
  'CREAT NOFOLLOW',
  'TRUNC NOFOLLOW',
  'DIRECTORY',
  'DIRECTORY NOFOLLOW',
  'CREAT DIRECTORY',
  'TRUNC DIRECTORY',
] as const

/** Opens with each combination of flags, then reads and writes. */
export const OPENS: readonly Operation[] = ACCESS.flatMap((access) =>
  WITH.map((flags) => opening(`open ${[access, ...flags.split(' ')].join(' ').trim()}`, access, flags)),
)

function opening(name: string, access: string, flags: string): Operation {
  const bits = [access, 'NONBLOCK', ...flags.split(' ')].reduce((sum, flag) => sum | bitOf(flag), 0)
  return operation(name, (fs, at) =>
    withFile(
      fs,
      at('x'),
      bits,
      async (file) => ({
        read: await attempt(() => readText(file)),
        write: await attempt(async () => (await file.write('new')).bytesWritten),
        at: await attempt(() => readText(file, 4, 0)),
        size: (await file.stat()).isFile() ? (await file.stat()).size : 'none',
      }),
      0o664,
    ),
  )
}

function bitOf(flag: string): number {
  return flag === '' ? 0 : (constants[`O_${flag}` as keyof typeof constants] as number)
}
