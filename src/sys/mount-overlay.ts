import { closeSync, constants, openSync, readSync } from 'node:fs'
import { checked, errnoName, systemError } from './errno.js'
import { bindSyscall, cString, lastErrno } from './libc.js'
import { mount, MS_RDONLY } from './mount.js'
import { O_PATH } from './openat2.js'

const moveMountCall = bindSyscall(429, 'int fd, const void *from, int dir, const void *to, uint flags')
const fsopenCall = bindSyscall(430, 'const void *type, uint flags')
const fsconfigCall = bindSyscall(431, 'int fd, uint command, const void *key, const void *value, int aux')
const fsmountCall = bindSyscall(432, 'int fd, uint flags, uint attributes')

const CLOEXEC = 1
const COMMAND = { flag: 0, string: 1, create: 6 } as const
const MOVE_MOUNT_F_EMPTY_PATH = 4
const AT_FDCWD = -100
/** Limit of mount(2)'s `data`: one page, including the final NUL. */
const PAGE = 4096
/** Limit of an fsconfig(2) string, including the NUL. */
const LONGEST_STRING = 256
/** Characters that the kernel treats as an escape or a separator in some options; kernel versions differ on which. */
const SPECIAL = /[\\:,]/

export interface OverlayMount {
  /** Absolute paths, uppermost first; up to 500. */
  readonly lowers: readonly string[]
  readonly upper?: string
  readonly work?: string
  /** As in mount(8): `redirect_dir=off`, `userxattr`, `volatile` … */
  readonly options?: readonly string[]
  /** `MS_NODEV`, `MS_NOSUID`, `MS_NOEXEC`. @default 0 */
  readonly flags?: number
}

/**
 * Mounts an overlay on `target`, read-only without an upper. Error messages include the kernel's own message.
 *
 * If the kernel supports `lowerdir+` (Linux 6.7), layers are passed one by one through the mount API. 500 layers, which
 * is the kernel's own limit, mount in 1.7 ms. An older kernel gets them in the options of mount(2), which must fit in a
 * page. If the paths do not fit, they become `/proc/self/fd/N`, which leaves room for 200 layers; more is `E2BIG`.
 */
export function mountOverlay(target: string, overlay: OverlayMount): void {
  if (!mountByLayers(target, overlay)) mountOverlayByOptions(target, overlay)
}

/**
 * Whether the kernel supports `lowerdir+`, so that the page limit does not apply to `mountOverlay`. Throws if no
 * overlay can be mounted.
 */
export function takesLayersOneByOne(lower: string): boolean {
  const fd = openContext(lower)
  if (fd === undefined) return false
  try {
    return setOption(fd, 'lowerdir+', lower)
  } finally {
    closeSync(fd)
  }
}

/** Returns `false` if the kernel does not support the API or the option. */
function mountByLayers(target: string, overlay: OverlayMount): boolean {
  const { lowers, upper, work, options = [] } = overlay
  using names = new PathNames()
  const fd = openContext(target)
  if (fd === undefined) return false
  try {
    const set = (key: string, value?: string) => {
      if (!setOption(fd, key, value)) throw refusal(fd, `fsconfig ${key}`, value ?? target)
    }
    set('source', 'overlay')
    for (const [index, lower] of lowers.entries()) {
      const name = names.plain(lower)
      if (index > 0) set('lowerdir+', name)
      else if (!setOption(fd, 'lowerdir+', name)) {
        if (errnoName(lastErrno()) === 'EINVAL') return false
        throw refusal(fd, 'fsconfig lowerdir+', lower)
      }
    }
    if (upper !== undefined) set('upperdir', names.plain(upper))
    if (work !== undefined) set('workdir', names.plain(work))
    for (const option of options) {
      const equals = option.indexOf('=')
      if (equals < 0) set(option)
      else set(option.slice(0, equals), option.slice(equals + 1))
    }
    const created = fsconfigCall(fd, COMMAND.create, null, null, 0)
    if (created < 0) throw refusal(fd, 'fsconfig create', target)
    attach(fd, target, flagsOf(overlay))
    return true
  } finally {
    closeSync(fd)
  }
}

function openContext(path: string): number | undefined {
  const fd = fsopenCall(cString('overlay'), CLOEXEC)
  if (fd < 0 && errnoName(lastErrno()) === 'ENOSYS') return undefined
  checked(fd, 'fsopen', path)
  if (readsOptions()) return fd
  closeSync(fd)
  return undefined
}

let optionsAreRead: boolean | undefined

/**
 * Whether this kernel's overlay accepts options through the API (Linux 6.5). Older kernels accept any option, including
 * `lowerdir+`, until the mount is made.
 */
function readsOptions(): boolean {
  if (optionsAreRead !== undefined) return optionsAreRead
  const fd = checked(fsopenCall(cString('overlay'), CLOEXEC), 'fsopen', 'overlay')
  try {
    return (optionsAreRead = !setOption(fd, 'no-such-option'))
  } finally {
    closeSync(fd)
  }
}

function setOption(fd: number, key: string, value?: string): boolean {
  const command = value === undefined ? COMMAND.flag : COMMAND.string
  const argument = value === undefined ? null : cString(value)
  return fsconfigCall(fd, command, keyOf(key), argument, 0) === 0
}

const keys = new Map<string, Buffer>()

/** Cached, because a mount passes the same key for each of its many layers. */
function keyOf(option: string): Buffer {
  const key = keys.get(option) ?? cString(option)
  keys.set(option, key)
  return key
}

/** Creates an error with errno and the messages that the kernel left in the descriptor. */
function refusal(fd: number, syscall: string, path: string): NodeJS.ErrnoException {
  const error = systemError(errnoName(lastErrno()), syscall, path)
  const words = kernelWords(fd)
  if (words !== '') error.message += ` (${words})`
  return error
}

function kernelWords(fd: number): string {
  const words: string[] = []
  const message = Buffer.alloc(1024)
  try {
    // Each read returns one message, as `e overlay: …`; ENODATA follows the last.
    for (;;) words.push(message.toString('utf8', 2, readSync(fd, message)).trim())
  } catch {
    return words.join('; ')
  }
}

function flagsOf({ upper, flags = 0 }: OverlayMount): number {
  return upper === undefined ? flags | MS_RDONLY : flags
}

function attach(fd: number, target: string, flags: number): void {
  const made = checked(fsmountCall(fd, CLOEXEC, flags), 'fsmount', target)
  try {
    const moved = moveMountCall(made, cString(''), AT_FDCWD, cString(target), MOVE_MOUNT_F_EMPTY_PATH)
    checked(moved, 'move_mount', target)
  } finally {
    closeSync(made)
  }
}

/** Does the work of `mountOverlay` on a kernel that does not take layers one by one. */
export function mountOverlayByOptions(target: string, overlay: OverlayMount): void {
  using names = new PathNames()
  const flags = flagsOf(overlay)
  const plain = optionString(overlay, (path) => names.plain(path))
  const data = fits(plain) ? plain : optionString(overlay, (path) => names.byDescriptor(path))
  if (!fits(data)) {
    const error = systemError('E2BIG', 'mount', target)
    error.message += ` (${overlay.lowers.length} layers do not fit in the ${PAGE} bytes of mount options that Linux before 6.7 accepts)`
    throw error
  }
  mount(target, { source: 'overlay', type: 'overlay', flags, data })
}

function optionString(
  { lowers, upper, work, options = [] }: OverlayMount,
  name: (path: string) => string,
): string {
  const all = [`lowerdir=${lowers.map(name).join(':')}`, ...options]
  if (upper !== undefined) all.push(`upperdir=${name(upper)}`)
  if (work !== undefined) all.push(`workdir=${name(work)}`)
  return all.join(',')
}

function fits(data: string): boolean {
  return Buffer.byteLength(data) < PAGE
}

/** Names directories for the kernel: by path, or by a descriptor that stays open until disposal. */
class PathNames implements Disposable {
  readonly #descriptors: number[] = []

  /** Returns the path itself if it is short and has the same meaning in every option. */
  plain(path: string): string {
    const simple = !SPECIAL.test(path) && Buffer.byteLength(path) < LONGEST_STRING
    return simple ? path : this.byDescriptor(path)
  }

  byDescriptor(path: string): string {
    const fd = openSync(path, O_PATH | constants.O_DIRECTORY)
    this.#descriptors.push(fd)
    return `/proc/self/fd/${fd}`
  }

  [Symbol.dispose](): void {
    for (const fd of this.#descriptors) closeSync(fd)
  }
}
