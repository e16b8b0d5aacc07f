import { closeSync, existsSync, statSync, truncateSync } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { makeDirectory } from '../../../durable/make-directory.js'
import { syncDirectory } from '../../../durable/sync-directory.js'
import { StoreError, storeError } from '../../../errors.js'
import { hasCapability } from '../../../sys/capabilities.js'
import { growBtrfs } from '../../../sys/grow-file-system.js'
import { libcAvailable } from '../../../sys/libc.js'
import { attachLoop, growLoop } from '../../../sys/loop.js'
import { temporaryName } from '../../../sys/temporary-name.js'
import { mount, unmountIfMounted } from '../../../sys/mount.js'
import { LayerHolds, type LayerHold } from '../../layer-holds.js'
import { isInstalled, mkfs } from '../../system-program.js'

export interface LoopbackSettings {
  readonly root: string
  readonly readOnly: boolean
  /** In bytes. If absent, the file keeps its size. */
  readonly size: bigint | undefined
  /** `MS_*` flags of the mount. */
  readonly mountFlags: number
}

/**
 * A btrfs of the driver's own, for roots on another file system: a sparse file, `layerstack/btrfs.img`, mounted on the
 * driver's directory.
 *
 * 1. The file is formatted under a temporary name and renamed. An existing file is never formatted.
 * 2. The file stays mounted as long as a process has this root's driver open. The first process mounts it, and the last
 *    one unmounts it. The next process uses a mount that a dead process left.
 * 3. The loop device is released when the mount ends.
 */
export class Loopback {
  readonly #settings: LoopbackSettings
  readonly #holds: LayerHolds
  #hold: Promise<LayerHold> | undefined

  constructor(settings: LoopbackSettings) {
    this.#settings = settings
    this.#holds = new LayerHolds(join(settings.root, 'layerstack', 'holds', 'btrfs-loopback'))
  }

  static isIn(root: string): boolean {
    return existsSync(fileIn(root))
  }

  /** Returns why a loopback does not work on this system, if it does not. */
  static whyNot(): string | undefined {
    const libc = libcAvailable()
    if (!libc.works) return `the kernel engine needs native system calls (${libc.reason})`
    if (!hasCapability('CAP_SYS_ADMIN'))
      return 'a loopback mount needs CAP_SYS_ADMIN, which this process does not have'
    return existsSync('/dev/loop-control')
      ? undefined
      : '/dev/loop-control does not exist: this kernel has no loop devices'
  }

  get file(): string {
    return fileIn(this.#settings.root)
  }

  /** Resolves once the file system is mounted. */
  async attach(): Promise<void> {
    if (this.#settings.readOnly) return this.#mustBeMounted()
    this.#hold ??= this.#take()
    try {
      await this.#hold
    } catch (error) {
      this.#hold = undefined
      throw error
    }
  }

  /** May be called twice; `attach` may follow. */
  async detach(): Promise<void> {
    const hold = await this.#hold
    this.#hold = undefined
    await hold?.release(async () => void unmountIfMounted(this.#target))
  }

  async #take(): Promise<LayerHold> {
    const { hold } = await this.#holds.take('btrfs', 'shared', async () => {
      await this.#make()
      if (!this.#isMounted()) this.#mount()
    })
    return hold
  }

  async #make(): Promise<void> {
    const { size } = this.#settings
    const { file } = this
    await makeDirectory(this.#target, { mode: 0o710 })
    if (existsSync(file)) return
    if (size === undefined) throw missing(file)
    if (!isInstalled(MKFS)) {
      throw new StoreError('ENGINE_UNSUPPORTED', `${MKFS} is not installed`, { hint: 'install btrfs-progs' })
    }
    await makeDirectory(dirname(file), { mode: 0o710 })
    const making = join(dirname(file), temporaryName('btrfs.img'))
    try {
      await writeSparse(making, size)
      await mkfs(MKFS, ['-q', making], 'check loopback.size')
      await rename(making, file)
      await syncDirectory(dirname(file))
    } catch (error) {
      await rm(making, { force: true })
      throw storeError(error, 'SYSTEM', `could not make ${file}`)
    }
  }

  #mount(): void {
    const { size, mountFlags: flags } = this.#settings
    const { file } = this
    const { fd, path } = attach(file)
    try {
      mount(this.#target, { source: path, type: 'btrfs', flags })
      if (size !== undefined && statSync(file).size < size) {
        truncateSync(file, Number(size))
        growLoop(path)
        growBtrfs(this.#target)
      }
    } catch (error) {
      unmountIfMounted(this.#target)
      throw storeError(error, 'STORE_CORRUPT', `could not mount ${file} as btrfs`, MOUNT_HINT)
    } finally {
      closeSync(fd)
    }
  }

  #isMounted(): boolean {
    return statSync(this.#target).dev !== statSync(this.#settings.root).dev
  }

  async #mustBeMounted(): Promise<void> {
    const isThere = await stat(this.#target).then(
      () => true,
      () => false,
    )
    if (isThere && this.#isMounted()) return
    throw new StoreError('ENGINE_UNSUPPORTED', `${this.file} is not mounted`, {
      hint: 'a read-only store does not mount it: open the store for writing, and keep it open',
    })
  }

  get #target(): string {
    return join(this.#settings.root, 'btrfs')
  }
}

const MKFS = 'mkfs.btrfs'
const MOUNT_HINT = 'examine it with btrfs check; the driver never formats it again'

function fileIn(root: string): string {
  return join(root, 'layerstack', 'btrfs.img')
}

async function writeSparse(path: string, size: bigint): Promise<void> {
  await using file = await open(path, 'w', 0o600)
  await file.truncate(Number(size))
}

function attach(file: string): ReturnType<typeof attachLoop> {
  try {
    return attachLoop(file)
  } catch (error) {
    throw storeError(
      error,
      'ENGINE_UNSUPPORTED',
      `no loop device for ${file}`,
      'load the kernel module loop, or free a loop device',
    )
  }
}

function missing(path: string): StoreError {
  return new StoreError('STORE_CORRUPT', `${path} is missing; it holds the layers`, {
    path,
    hint: 'restore it from a backup; to start afresh, remove image/btrfs from the root',
  })
}
