import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import { MemoryFs } from '#layerstack/fs/memory/memory-fs.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import type { HostFsSpec } from '#layerstack/fs/spec.js'
import { UnionFs } from '#layerstack/fs/union/union-fs.js'
import { walk } from '#layerstack/fs/trees/walk.js'
import { LayerApplier, type ApplyOptions, type ApplyTarget } from '#layerstack/tar/apply.js'
import type { DiffSource } from '#layerstack/tar/diff.js'
import { encodeHeader } from '#layerstack/tar/encode.js'
import type { TarEntryType, TarHeader, TarPart } from '#layerstack/tar/part.js'

export const bytes = (text: string): ByteString => Buffer.from(text, 'utf8').toString('latin1') as ByteString

/** An entry of a layer's tar. */
export interface Entry {
  readonly header: TarHeader
  readonly content: Buffer
}

export type Extra = Partial<Omit<TarHeader, 'xattrs'>> & { readonly xattrs?: Record<string, string> }

/** A time in 2001, in whole seconds, which the clock cannot produce during a test. */
export const THEN = 1_000_000_000_000_000_000n

export function entry(name: string, type: TarEntryType, extra: Extra = {}, content = ''): Entry {
  const { xattrs = {}, ...rest } = extra
  const body = Buffer.from(content)
  const header: TarHeader = {
    name: bytes(name),
    type,
    mode: type === 'directory' ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    userName: bytes(''),
    groupName: bytes(''),
    size: body.length,
    mtimeNs: THEN,
    linkName: bytes(''),
    device: { major: 0, minor: 0 },
    xattrs: new Map(Object.entries(xattrs).map(([key, value]) => [bytes(key), Buffer.from(value, 'latin1')])),
    ...rest,
  }
  return { header, content: body }
}

export const file = (name: string, content = '', extra: Extra = {}): Entry =>
  entry(name, 'file', extra, content)
export const directory = (name: string, extra: Extra = {}): Entry => entry(name, 'directory', extra)
export const symlink = (name: string, target: string, extra: Extra = {}): Entry =>
  entry(name, 'symlink', { linkName: bytes(target), ...extra })
export const link = (name: string, target: string, extra: Extra = {}): Entry =>
  entry(name, 'link', { linkName: bytes(target), ...extra })
export const whiteout = (path: string): Entry => file(path.replace(/([^/]*)$/, '.wh.$1'))
export const opaque = (path: string): Entry => file(`${path === '' ? '' : `${path}/`}.wh..wh..opq`)

export function* partsOf(entries: Iterable<Entry>): Generator<TarPart> {
  for (const { header, content } of entries) {
    yield { type: 'header', header, bytes: encodeHeader({ ...header, type: known(header.type) }) }
    const piece = Math.ceil(content.length / 3)
    for (let at = 0; at < content.length; at += piece) {
      yield { type: 'content', bytes: content.subarray(at, at + piece) }
    }
  }
}

const known = (type: TarEntryType) => (type === 'unknown' ? 'file' : type)

/** @returns the result of `part` for each header, and the size */
export function feed(applier: LayerApplier, parts: Iterable<TarPart>): { stored: boolean[]; size: number } {
  const stored: boolean[] = []
  for (const part of parts) {
    const answer = applier.part(part)
    if (part.type === 'header') stored.push(answer)
  }
  return { stored, ...applier.finish() }
}

/** A stack of layers in the form in which a driver stores it. */
export interface Stack {
  apply(entries: Iterable<Entry>, options?: ApplyOptions): { stored: boolean[]; size: number }
  applyParts(parts: Iterable<TarPart>, options?: ApplyOptions): { stored: boolean[]; size: number }
  /** The merged tree. */
  readonly view: SyncFs
  /** The tree from which the last layer's files are read back. */
  readonly files: SyncFs
  /** The changes of the last layer. Absent if only a comparison of two trees can find them. */
  readonly source?: DiffSource
}

export interface Form {
  readonly form: string
  stack(): Stack
}

/** Matches the error of a layer that cannot be applied. */
export const invalid = expect.objectContaining({ code: 'LAYER_INVALID' })

/** Options with which a `HostFs` stores every attribute. Only root can set all of them natively. */
export const hostAttributes = process.getuid?.() === 0 ? {} : ({ attributes: 'override' } as const)

const attributesHere = process.getuid?.() === 0 ? (['native', 'override'] as const) : (['override'] as const)

/** Every form in which layers are applied. The same layers must give the same tree in each. */
export const FORMS: readonly Form[] = [
  { form: 'model', stack: () => modelStack() },
  ...attributesHere.map((attributes) => ({
    form: `merged, ${attributes}`,
    stack: () => mergedStack({ kind: 'host', root: scratch(), attributes }),
  })),
  ...attributesHere.map((attributes) => ({
    form: `overlay, ${attributes}`,
    stack: () => overlayStack((root) => ({ kind: 'host', root, attributes })),
  })),
]

const directories: string[] = []

export function scratch(): string {
  const path = mkdtempSync(join(tmpdir(), 'layerstack-apply-'))
  directories.push(path)
  return path
}

export function removeScratch(): void {
  for (const path of directories.splice(0)) rmSync(path, { recursive: true, force: true })
}

export function modelStack(): Stack {
  return stackOf(new MemoryFs())
}

function mergedStack(spec: HostFsSpec): Stack {
  return stackOf(new HostFs(spec), { files: spec, form: 'merged', lowers: [] })
}

function stackOf(raw: SyncFs, target: ApplyTarget | { syncFs: SyncFs } = { syncFs: raw }): Stack {
  const applyParts: Stack['applyParts'] = (parts, options) => feed(new LayerApplier(target, options), parts)
  return {
    apply: (entries, options) => applyParts(partsOf(entries), options),
    applyParts,
    view: raw,
    files: raw,
  }
}

function overlayStack(specOf: (root: string) => HostFsSpec): Stack {
  const top = scratch()
  const layers: HostFsSpec[] = []
  const applyParts: Stack['applyParts'] = (parts, options) => {
    const files = specOf(join(top, `${layers.length}`))
    mkdirSync(files.root)
    const target: ApplyTarget = { files, form: 'overlay', lowers: layers.toReversed() }
    layers.push(files)
    return feed(new LayerApplier(target, options), parts)
  }
  return {
    apply: (entries, options) => applyParts(partsOf(entries), options),
    applyParts,
    get view() {
      return new UnionFs({ kind: 'union', lowers: layers.toReversed() })
    },
    get files() {
      return new HostFs(layers.at(-1) as HostFsSpec)
    },
    get source() {
      return {
        form: 'overlay' as const,
        upper: layers.at(-1) as HostFsSpec,
        lowers: layers.slice(0, -1).toReversed(),
      }
    },
  }
}

/** One line per path with its metadata and content. Inode numbers are left out. */
export function describeTree(fs: SyncFs): string[] {
  const names = new Map<string, string>()
  return [...walk(fs)].map(({ path, stat }) => {
    const inode = `${stat.dev}:${stat.ino}`
    const first = stat.type === 'directory' ? undefined : names.get(inode)
    names.set(inode, first ?? path)
    const owner = `${stat.mode.toString(8)} ${stat.uid}:${stat.gid}`
    const xattrs = fs
      .listxattr(path)
      .filter((name) => name !== 'security.selinux')
      .toSorted()
      .map((name) => `${name}=${fs.getxattr(path, name)?.toString('latin1')}`)
    const mode = stat.type === 'symlink' ? `${stat.uid}:${stat.gid}` : owner
    return [path, stat.type, mode, stat.mtimeNs, ...xattrs, first ? `= ${first}` : contentAt(fs, path)].join(
      ' ',
    )
  })
}

/** Paths with their type or content, without other metadata. */
export function outline(fs: SyncFs): string[] {
  return [...walk(fs)].map(({ path, stat }) => {
    if (stat.type === 'directory') return `${path}/`
    return stat.type === 'file' || stat.type === 'symlink'
      ? `${path} ${contentAt(fs, path)}`
      : `${path} (${stat.type})`
  })
}

export function contentAt(fs: SyncFs, path: ByteString): string {
  const { type, device } = fs.lstat(path)
  if (type === 'symlink') return `-> ${fs.readlink(path)}`
  if (type === 'char' || type === 'block') return `${device.major}:${device.minor}`
  if (type !== 'file') return ''
  const open = fs.open(path, 0)
  const buffer = Buffer.alloc(open.stat().size)
  for (let at = 0; at < buffer.length;) at += open.read(buffer.subarray(at), at)
  open.close()
  if (buffer.length > 1000) return createHash('sha256').update(buffer).digest('hex')
  return buffer.toString('latin1')
}
