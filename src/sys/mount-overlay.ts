import { closeSync } from 'node:fs'
import { checked, errnoName } from './errno.js'
import { bind, cString, lastErrno } from './libc.js'
import { mount } from './mount.js'

/** Numbers of the mount API are the same on every architecture. */
const SYS = { moveMount: 429, fsopen: 430, fsconfig: 431, fsmount: 432 } as const
const fsopenCall = bind('long syscall(long number, const void *type, uint flags)')
const fsconfigCall = bind(
  'long syscall(long number, int fd, uint command, const void *key, const void *value, int aux)',
)
const fsmountCall = bind('long syscall(long number, int fd, uint flags, uint attributes)')
const moveMountCall = bind(
  'long syscall(long number, int fd, const void *from, int dir, const void *to, uint flags)',
)

const CLOEXEC = 1
const COMMAND = { flag: 0, string: 1, create: 6 } as const
const MOVE_MOUNT_F_EMPTY_PATH = 4
const MOUNT_ATTR_RDONLY = 1
const AT_FDCWD = -100
/** What mount(2) takes as `data`: a page, with the NUL that ends it. */
const PAGE = 4096
const MS_RDONLY = 1

export interface OverlayMount {
  /** Absolute paths, uppermost first; up to 500. */
  readonly lowers: readonly string[]
  readonly upper?: string
  readonly work?: string
  /** As in mount(8): `redirect_dir=off`, `userxattr`, `volatile` … */
  readonly options?: readonly string[]
}

/**
 * Mounts an overlay on `target`; read-only without an upper. Layers are handed over one by one through the mount API of
 * Linux 6.5 (`lowerdir+`, up to 500), which knows no limit on the length of the paths; on an older kernel through
 * mount(2), whose options must fit in a page.
 */
export function mountOverlay(target: string, overlay: OverlayMount): void {
  if (!mountByLayers(target, overlay)) mountByOptions(target, overlay)
}

/** False where the kernel does not know the API or the option. */
function mountByLayers(target: string, { lowers, upper, work, options = [] }: OverlayMount): boolean {
  const fd = Number(fsopenCall(SYS.fsopen, cString('overlay'), CLOEXEC))
  if (fd < 0) return absent(target, 'fsopen')
  try {
    const set = (key: string, value?: string) => {
      const command = value === undefined ? COMMAND.flag : COMMAND.string
      const argument = value === undefined ? null : cString(value)
      return Number(fsconfigCall(SYS.fsconfig, fd, command, cString(key), argument, 0))
    }
    checked(set('source', 'overlay'), 'fsconfig', target)
    for (const [index, lower] of lowers.entries()) {
      if (set('lowerdir+', lower) >= 0) continue
      if (index === 0 && errnoName(lastErrno()) === 'EINVAL') return false
      checked(-1, 'fsconfig lowerdir+', lower)
    }
    if (upper !== undefined) checked(set('upperdir', upper), 'fsconfig upperdir', upper)
    if (work !== undefined) checked(set('workdir', work), 'fsconfig workdir', work)
    for (const option of options) {
      const [key, value] = option.split('=') as [string, string | undefined]
      checked(set(key, value), `fsconfig ${option}`, target)
    }
    checked(Number(fsconfigCall(SYS.fsconfig, fd, COMMAND.create, null, null, 0)), 'fsconfig create', target)
    attach(fd, target, upper === undefined)
    return true
  } finally {
    closeSync(fd)
  }
}

function attach(fd: number, target: string, readOnly: boolean): void {
  const attributes = readOnly ? MOUNT_ATTR_RDONLY : 0
  const made = checked(Number(fsmountCall(SYS.fsmount, fd, CLOEXEC, attributes)), 'fsmount', target)
  try {
    const moved = moveMountCall(
      SYS.moveMount,
      made,
      cString(''),
      AT_FDCWD,
      cString(target),
      MOVE_MOUNT_F_EMPTY_PATH,
    )
    checked(Number(moved), 'move_mount', target)
  } finally {
    closeSync(made)
  }
}

function absent(target: string, syscall: string): false {
  if (errnoName(lastErrno()) !== 'ENOSYS') checked(-1, syscall, target)
  return false
}

function mountByOptions(target: string, { lowers, upper, work, options = [] }: OverlayMount): void {
  const all = [`lowerdir=${lowers.map(escape).join(':')}`, ...options]
  if (upper !== undefined) all.push(`upperdir=${escape(upper)}`)
  if (work !== undefined) all.push(`workdir=${escape(work)}`)
  const data = all.join(',')
  if (Buffer.byteLength(data) >= PAGE) {
    const reason = `${lowers.length} lower layers do not fit in the ${PAGE} bytes that mount(2) takes; Linux 6.5 has no such limit`
    throw Object.assign(new Error(`E2BIG: ${reason}, mount '${target}'`), {
      code: 'E2BIG',
      syscall: 'mount',
      path: target,
    })
  }
  mount(target, { source: 'overlay', type: 'overlay', flags: upper === undefined ? MS_RDONLY : 0, data })
}

/** In an option string, `:`, `,` and `\` part paths and options. */
function escape(path: string): string {
  return path.replaceAll(/[\\:,]/g, (special) => `\\${special}`)
}
