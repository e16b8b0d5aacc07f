import { randomBytes } from 'node:crypto'
import { copyFile, mkdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Driver } from 'layerstack'
import { mountOverlay } from '#layerstack/sys/mount-overlay.js'
import { unmountIfMounted } from '#layerstack/sys/mount.js'
import { run } from '../test/support/program.js'
import { hostFiles, type Files } from './files.js'
import { tarOf, writeTree, type InputFile } from './inputs.js'
import type { DriverWorkspace, Workspace } from './workload.js'

/** A stack of layers with the same files for all contenders. Each sample gets a new writable layer on it. */
export interface Fixture extends AsyncDisposable {
  /** The directory that written data is stored in. */
  readonly directory: string
  writable(): Promise<Writable>
}

/** A writable layer; disposing closes and removes it. */
interface Writable extends AsyncDisposable {
  readonly files: Files
  /** Puts or unmounts the layer. May be called twice. */
  close(): Promise<void>
}

/** The files of each layer, lowest first. */
export type Layers = readonly Iterable<InputFile>[]

export async function driverFixture(workspace: DriverWorkspace, layers: Layers): Promise<Fixture> {
  const driver = await workspace.openDriver()
  const top = await stack(driver, layers)
  return {
    directory: workspace.directory,
    writable: async () => {
      const id = `container-${randomBytes(8).toString('hex')}`
      await driver.createReadWrite(id, top)
      const view = await driver.get(id, { volatile: workspace.contender.volatile === true })
      const close = once(() => driver.put(id))
      return {
        files: workspace.contender.through === 'mount' ? hostFiles(view.hostPath as string) : view.fs,
        close,
        [Symbol.asyncDispose]: async () => {
          await close()
          await driver.remove(id)
        },
      }
    },
    [Symbol.asyncDispose]: () => driver.cleanup(),
  }
}

/** @returns the id of the top layer */
async function stack(driver: Driver, layers: Layers): Promise<string | undefined> {
  let top: string | undefined
  for (const [index, files] of layers.entries()) {
    const id = `layer${index}`
    await driver.create(id, top)
    await driver.applyDiff(id, top, tarOf(files))
    top = id
  }
  return top
}

/** The kernel's overlayfs alone, mounted by this process with system calls. */
export function overlayfsFixture(workspace: Workspace, layers: Layers): Promise<Fixture> {
  return overlayFixture(workspace, layers, async ({ lowers, upper, work, merged }) => {
    mountOverlay(merged, { lowers, upper, work, options: ['redirect_dir=off', 'index=off', 'metacopy=off'] })
    return async () => void unmountIfMounted(merged)
  })
}

export function fuseOverlayfsFixture(workspace: Workspace, layers: Layers): Promise<Fixture> {
  return overlayFixture(workspace, layers, async ({ lowers, upper, work, merged }) => {
    const options = `lowerdir=${lowers.join(':')},upperdir=${upper},workdir=${work}`
    await run('fuse-overlayfs', ['-o', options, merged])
    return async () => void (await run('umount', [merged]))
  })
}

interface OverlayDirectories {
  /** Uppermost first. */
  readonly lowers: readonly string[]
  readonly upper: string
  readonly work: string
  readonly merged: string
}

async function overlayFixture(
  { directory }: Workspace,
  layers: Layers,
  mount: (directories: OverlayDirectories) => Promise<() => Promise<void>>,
): Promise<Fixture> {
  const lowers: string[] = []
  for (const [index, files] of layers.entries()) {
    // Short names, because mount options must fit in a page.
    const lower = join(directory, String(index))
    await mkdir(lower, { recursive: true })
    await writeTree(lower, files)
    lowers.unshift(lower)
  }
  return {
    directory,
    writable: async () => {
      const at = join(directory, `w${randomBytes(4).toString('hex')}`)
      const [upper, work, merged] = [join(at, 'u'), join(at, 'w'), join(at, 'm')]
      for (const path of [upper, work, merged]) await mkdir(path, { recursive: true })
      const close = once(await mount({ lowers, upper, work, merged }))
      return {
        files: hostFiles(merged),
        close,
        [Symbol.asyncDispose]: async () => {
          await close()
          await rm(at, { recursive: true })
        },
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
}

/** Files that Node copies before they are changed: the data of a copy-up, without layers. */
export async function copyFixture({ directory }: Workspace, layers: Layers): Promise<Fixture> {
  const base = join(directory, 'base')
  await mkdir(base, { recursive: true })
  for (const files of layers) await writeTree(base, files)
  return {
    directory,
    writable: async () => {
      const upper = join(directory, `w${randomBytes(4).toString('hex')}`)
      await mkdir(upper)
      return {
        files: copyingFiles(base, upper),
        close: async () => undefined,
        [Symbol.asyncDispose]: () => rm(upper, { recursive: true }),
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
}

function copyingFiles(base: string, upper: string): Files {
  const files = hostFiles(upper)
  const copied = new Set<string>()
  const copy = async (path: string): Promise<void> => {
    if (copied.has(path)) return
    copied.add(path)
    await mkdir(dirname(join(upper, path)), { recursive: true })
    await copyFile(join(base, path), join(upper, path))
  }
  return {
    ...files,
    open: async (path, flags) => {
      await copy(path)
      return files.open(path, flags)
    },
    chmod: async (path, mode) => {
      await copy(path)
      await files.chmod(path, mode)
    },
    rename: async (from, to) => {
      await copy(from)
      await files.rename(from, to)
    },
  }
}

function once(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined
  return () => (done ??= work())
}
