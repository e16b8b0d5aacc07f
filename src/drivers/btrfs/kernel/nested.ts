import { closeSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StoreError } from '../../../errors.js'
import { bytesToText, parentOf, toBytes, type ByteString } from '../../../fs/bytes.js'
import { HostFs } from '../../../fs/host/host-fs.js'
import type { HostFsSpec } from '../../../fs/spec.js'
import { runJob } from '../../../jobs/run/run-job.js'
import { makeWritable, nestedSubvolumes } from '../../../sys/btrfs-subvolume.js'
import { openDirectory } from '../../../sys/ioctl.js'
import { renameExchange } from '../../../sys/rename.js'
import { syncFileSystemOf } from '../../../sys/syncfs.js'
import { removeSubvolume } from './remove-subvolume.js'

/**
 * Programs can create subvolumes inside a layer. In a snapshot of the layer, each of them is an empty directory. So
 * nested subvolumes are replaced by plain directories before the layer gets a child. In a child of a layer that still
 * has some, the empty directories are filled.
 *
 * 1. A copy is made in the layer itself, under a reserved name, and exchanged with the subvolume by one rename. Renames
 *    between subvolumes are not possible.
 * 2. While that name is in use, a file beside the layer marks it: `<id>-replacing`. A crash leaves every path as it
 *    was, and {@link clearReplacing} removes the rest.
 */
const ASIDE = '.wh..wh.layerstack.nested'
const ROOT = '' as ByteString

export function hasNested(root: string): boolean {
  return nestedSubvolumes(root).length > 0
}

/**
 * Replaces each nested subvolume by a directory with the same content, including the subvolumes inside it. The layer
 * must not be in use. Files share their blocks with the old ones. Durable.
 */
export async function replaceNested(layer: HostFsSpec): Promise<void> {
  await clearReplacing(layer.root)
  const places = placesIn(layer.root)
  if (places.length === 0) return
  const aside = join(layer.root, ASIDE)
  using fs = new HostFs({ ...layer, shared: true })
  writeFileSync(markOf(layer.root), '')
  for (const { path, host } of places) {
    makeWritable(host)
    const directories = [parentOf(path), ROOT].map((each) => ({ each, stat: fs.lstat(each) }))
    mkdirSync(aside, { mode: 0o700 })
    await copyDirectory(layer, host, aside)
    if (!renameExchange(aside, host)) throw cannotReplace(path)
    await removeSubvolume(aside)
    for (const { each, stat } of directories) fs.utimes(each, stat.atimeNs, stat.mtimeNs)
  }
  await syncFileSystemOf(layer.root)
  rmSync(markOf(layer.root))
}

/** Fills the empty directories that a new snapshot has in place of its parent's nested subvolumes. */
export async function fillNested(parent: string, snapshot: HostFsSpec): Promise<void> {
  using fs = new HostFs({ ...snapshot, shared: true })
  for (const { path, host } of placesIn(parent)) {
    if (fs.find(path) === undefined) continue
    const { atimeNs, mtimeNs } = fs.lstat(parentOf(path))
    const place = hostPathIn(snapshot.root, path)
    fs.rmdir(path)
    mkdirSync(place, { mode: 0o700 })
    await copyDirectory(snapshot, host, place)
    fs.utimes(parentOf(path), atimeNs, mtimeNs)
  }
}

/** Reports whether {@link replaceNested} is working on the layer, or was when a crash ended it. */
export function isReplacing(root: string): boolean {
  return existsSync(markOf(root))
}

/** Removes what a crash left of {@link replaceNested}. The layer must not be in use. */
export async function clearReplacing(root: string): Promise<void> {
  if (!isReplacing(root)) return
  await removeSubvolume(join(root, ASIDE))
  rmSync(markOf(root), { force: true })
}

function markOf(root: string): string {
  return `${root}-replacing`
}

interface Place {
  readonly path: ByteString
  readonly host: Buffer
}

/** The outermost nested subvolumes. */
function placesIn(root: string): Place[] {
  return nestedSubvolumes(root).map(({ directory, name }) => {
    const path = toBytes(Buffer.concat([directory, name]))
    return { path, host: hostPathIn(root, path) }
  })
}

function hostPathIn(root: string, path: ByteString): Buffer {
  return Buffer.concat([Buffer.from(root), SLASH, Buffer.from(path, 'latin1')])
}

/** Uses descriptors, because a job takes its paths as text. */
async function copyDirectory(spec: HostFsSpec, from: Buffer, to: Buffer | string): Promise<void> {
  const [source, target] = [openDirectory(from), openDirectory(to)]
  const at = (fd: number): HostFsSpec => ({ ...spec, root: `/proc/self/fd/${fd}/.` })
  try {
    await runJob({ kind: 'copyTree', from: at(source), to: at(target) })
  } finally {
    closeSync(source)
    closeSync(target)
  }
}

function cannotReplace(path: ByteString): StoreError {
  const shown = `/${bytesToText(path)}`
  return new StoreError('SYSTEM', `cannot turn the subvolume ${shown} into a plain directory`, {
    path: shown,
    hint: 'commit without consume, or remove the subvolume',
  })
}

const SLASH = Buffer.from('/')
