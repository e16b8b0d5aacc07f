import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { outlineOf } from '#layerstack/conformance/index.js'
import { chainIds, type DiffID } from '#layerstack/digest.js'
import { isErrno } from '#layerstack/errors.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import { openStore, type Store } from '#layerstack/index.js'
import { digestOf } from '../store/archive.js'
import { startContainerd } from '../support/containerd.js'
import { startDockerd } from '../support/dockerd.js'
import { run } from '../support/program.js'
import { writeImage } from './odd-image.js'

/** Another program that unpacks layers. */
export interface Judge extends AsyncDisposable {
  /** Returns the tree that the program unpacks from these layers. Rejects with its error message if it refuses them. */
  look(layers: readonly Buffer[]): Promise<string[]>
}

export type JudgeName = keyof typeof judges

/** Starts each program in a directory of its own. */
export const judges = {
  'dockerd, overlay2': (directory: string) => dockerd(directory, 'overlay2'),
  'dockerd, vfs': (directory: string) => dockerd(directory, 'vfs'),
  'containerd, overlayfs': (directory: string) => containerd(directory, 'overlayfs'),
  'containerd, native': (directory: string) => containerd(directory, 'native'),
  umoci,
} satisfies Record<string, (directory: string) => Promise<Judge>>

const REFERENCE = 'odd.test/layer:1'

async function dockerd(directory: string, driver: 'overlay2' | 'vfs'): Promise<Judge> {
  const began = now()
  const archive = join(directory, 'image.tar')
  const root = join(directory, 'root')
  const docker = await startDockerd({ root, driver })
  return {
    async look(layers) {
      await writeImage(archive, layers, REFERENCE)
      await docker.load(archive)
      try {
        const ids = chainIds(layers.map((layer) => digestOf(layer) as DiffID)).map((chain) =>
          readFileSync(join(root, 'image', driver, 'layerdb/sha256', chain.slice(7), 'cache-id'), 'latin1'),
        )
        if (driver === 'vfs') return outlineOfDirectory(join(root, 'vfs/dir', ids.at(-1) as string), began)
        const diffs = ids.map((id) => join(root, 'overlay2', id, 'diff'))
        return await outlineOfOverlay(diffs, join(directory, 'merged'), began)
      } finally {
        await docker.cli('rmi', '--force', REFERENCE)
      }
    },
    [Symbol.asyncDispose]: () => docker.stop(),
  }
}

async function containerd(directory: string, snapshotter: string): Promise<Judge> {
  const began = now()
  const archive = join(directory, 'image.tar')
  const view = join(directory, 'view')
  const daemon = await startContainerd(join(directory, 'containerd'))
  const snapshots = (...args: readonly string[]) =>
    daemon.ctr('snapshots', '--snapshotter', snapshotter, ...args)
  return {
    async look(layers) {
      await writeImage(archive, layers, REFERENCE)
      try {
        await daemon.ctr('images', 'import', '--snapshotter', snapshotter, archive)
        const top = chainIds(layers.map((layer) => digestOf(layer) as DiffID)).at(-1) as string
        await snapshots('view', 'view', top)
        mkdirSync(view)
        await run('sh', ['-ec', (await snapshots('mounts', view, 'view')).toString()])
        return outlineOfDirectory(view, began)
      } finally {
        await run('umount', [view]).catch(() => undefined)
        rmSync(view, { recursive: true, force: true })
        await snapshots('rm', 'view').catch(() => undefined)
      }
    },
    [Symbol.asyncDispose]: () => daemon.stop(),
  }
}

/** umoci reads OCI layouts only, so this library writes one for it. */
async function umoci(directory: string): Promise<Judge> {
  const began = now()
  const [archive, layout, tree] = ['image.tar', 'layout', 'tree'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ]
  const store: Store = await openStore({ root: join(directory, 'root'), driver: 'vfs' })
  return {
    async look(layers) {
      await writeImage(archive, layers, REFERENCE)
      const [image] = await store.load(archive)
      try {
        await store.save(REFERENCE, layout, { format: 'oci-layout' })
        await run('umoci', ['raw', 'unpack', '--image', `${layout}:1`, tree])
        return outlineOfDirectory(tree, began)
      } finally {
        for (const path of [layout, tree]) rmSync(path, { recursive: true, force: true })
        await store.remove(image?.id ?? REFERENCE, { force: true })
      }
    },
    [Symbol.asyncDispose]: () => store.close(),
  }
}

/** The part of an error message that is the same each time. The rest holds paths. */
export function complaintOf(error: unknown): string {
  const said = (error as Error).message
  return said.match(COMPLAINTS)?.at(-1) ?? said
}

const COMPLAINTS =
  /duplicates of file paths not supported|file exists|not a directory|no such file or directory|unhandled tar header type \d+|unknown typeflag '[^']*'|operation not permitted/g

/** @param layers lowest first */
async function outlineOfOverlay(layers: readonly string[], merged: string, began: bigint): Promise<string[]> {
  if (layers.length === 1) return outlineOfDirectory(layers[0] as string, began)
  mkdirSync(merged)
  const options = `lowerdir=${layers.toReversed().join(':')}`
  await run('mount', ['-t', 'overlay', '-o', options, 'overlay', merged])
  try {
    return outlineOfDirectory(merged, began)
  } finally {
    await run('umount', [merged])
    rmSync(merged, { recursive: true })
  }
}

/** Reports a stray whiteout of an overlay as broken: its name is listed, but `lstat` fails. */
function outlineOfDirectory(root: string, nowFrom: bigint): string[] {
  const raw = new HostFs({ kind: 'host', root, readOnly: true })
  try {
    return outlineOf(raw, { nowFrom })
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
    return [`broken: ${relative(root, error.path as string)} is listed and is not there`]
  } finally {
    raw.close()
  }
}

function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n
}
