import { constants } from 'node:fs'
import { baseOf, joinBytes, type ByteString } from '#layerstack/fs/bytes.js'
import type { HostFs } from '#layerstack/fs/host/host-fs.js'
import { makeOpaque, makeWhiteout } from '#layerstack/fs/overlay-marks.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import { bytes, OLD_NS, type LayerName } from '../union-layers.js'

/** Creates something at a path of one layer. Marks require a layer in overlay form. */
export type Build = (fs: SyncFs, at: ByteString) => void

/** Something that a path of a union may show. Its name says its kind and the layers that make it up. */
export interface UnionObject {
  readonly name: string
  /** Neither file, directory nor symlink: opening it may block forever. */
  readonly special: boolean
  readonly layers: Partial<Record<LayerName, Build>>
}

const COMMON = {
  file: file('x'),
  'empty directory': directory(),
  directory: directory('f'),
  'symlink to a file': symlinkTo(file('target')),
  'symlink to a directory': symlinkTo(directory('f')),
}
const RARE = {
  'linked file': linkedFile,
  'set-id file': setIdFile,
  'set-group-id directory': setGroupIdDirectory,
  'dangling symlink': symlink('nowhere'),
  'symlink to itself': (fs: SyncFs, at: ByteString) => symlink(baseOf(at))(fs, at),
  'absolute symlink': absoluteSymlink,
}
const SPECIAL = {
  fifo: node('fifo'),
  socket: node('socket'),
  'null device': node('char', { major: 1, minor: 3 }),
  'block device': node('block', { major: 1, minor: 259 }),
}

const inLow = (build: Build) => ({ low: build })
const inUpper = (build: Build) => ({ upper: build })
const inUpperAndLow = (build: Build) => ({ low: build, upper: build })
const inMidAndLow = (build: Build) => ({ low: build, mid: build })
const hiddenByUpper = (build: Build) => ({ low: build, upper: whiteout })
const hiddenByMid = (build: Build) => ({ low: build, mid: whiteout })

export const OBJECTS: readonly UnionObject[] = [
  object('nothing', {}),
  ...placed({ ...COMMON, ...RARE, ...SPECIAL }, '% in low', inLow),
  ...placed({ ...COMMON, ...RARE, fifo: SPECIAL.fifo }, '% in upper', inUpper),
  ...placed(COMMON, '% in upper and low', inUpperAndLow),
  ...placed(pick('file', 'empty directory', 'directory'), '% in mid and low', inMidAndLow),
  ...placed(pick('file', 'directory', 'symlink to a file'), '%, whiteout in upper', hiddenByUpper),
  ...placed(pick('file', 'directory'), '%, whiteout in mid', hiddenByMid),

  object('file, whiteout in mid, file in upper', { low: file('low'), mid: whiteout, upper: file('upper') }),
  object('linked file in low, copied up', { low: linkedFile, upper: file('upper') }),
  object('directories that differ in upper and low', { low: directory('f', 'g'), upper: directory('f') }),
  object('directory in all layers', { low: directory('f'), mid: directory('g'), upper: directory('h') }),
  object('opaque empty directory over directory', { low: directory('f'), upper: opaque() }),
  object('opaque directory over directory', { low: directory('f', 'g'), upper: opaque('f') }),
  object('opaque in mid, directory in upper', {
    low: directory('f'),
    mid: opaque('g'),
    upper: directory('h'),
  }),
  object('emptied directory in upper and low', { low: directory('f', 'g'), upper: emptied('f', 'g') }),
  object('emptied directory in mid and low', { low: directory('f'), mid: emptied('f') }),
  object('directory over whiteout in mid', { low: directory('f'), mid: whiteout, upper: directory('h') }),
  object('file in upper over directory in low', { low: directory('f'), upper: file('upper') }),
  object('file in mid over directory in low', { low: directory('f'), mid: file('mid') }),
  object('directory in upper over file in low', { low: file('low'), upper: directory('f') }),
  object('directory, file, directory', { low: directory('f'), mid: file('mid'), upper: directory('h') }),
  object('symlink in upper to a file in low', {
    low: (fs, at) => file('target')(fs, bytes(`${at}-target`)),
    upper: (fs, at) => symlink(`${baseOf(at)}-target`)(fs, at),
  }),
]

/** Returns the objects with these names, or all whose names match the pattern. */
export function objectsNamed(names: RegExp | readonly string[]): UnionObject[] {
  if (names instanceof RegExp) return OBJECTS.filter(({ name }) => names.test(name))
  return names.map((name) => {
    const found = OBJECTS.find((each) => each.name === name)
    if (found === undefined) throw new Error(`no such object: ${name}`)
    return found
  })
}

/** Whether an object is only in the upper layer, or nowhere. Such objects also exist in filesystems without layers. */
export function isWithoutLayers({ layers }: UnionObject): boolean {
  return layers.low === undefined && layers.mid === undefined
}

/** The file beside the object, in the lowest layer of each case. */
export const other: Build = file('other')

function pick(...names: readonly (keyof typeof COMMON)[]): Record<string, Build> {
  return Object.fromEntries(names.map((name) => [name, COMMON[name]]))
}

function placed(
  kinds: Record<string, Build>,
  template: string,
  layersOf: (build: Build) => UnionObject['layers'],
): UnionObject[] {
  return Object.entries(kinds).map(([kind, build]) =>
    object(template.replace('%', kind), layersOf(build), kind in SPECIAL),
  )
}

function object(name: string, layers: UnionObject['layers'], special = false): UnionObject {
  return { name, layers, special }
}

function file(content: string): Build {
  return (fs, at) => {
    const opened = fs.open(at, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o640)
    opened.write(Buffer.from(`content of ${content}`), 0)
    opened.close()
    fs.chown(at, 12, 34)
    fs.setxattr(at, bytes('user.color'), Buffer.from([0, 255, 10]))
    fs.utimes(at, OLD_NS, OLD_NS + 1n)
  }
}

function linkedFile(fs: SyncFs, at: ByteString): void {
  file('linked')(fs, at)
  fs.link(at, bytes(`${at}-link`))
}

function setIdFile(fs: SyncFs, at: ByteString): void {
  file('set-id')(fs, at)
  fs.setxattr(at, bytes('security.capability'), CAP_NET_RAW)
  fs.chmod(at, 0o6755)
  fs.utimes(at, OLD_NS, OLD_NS)
}

/** cap_net_raw=ep, as setcap(8) writes it. */
export const CAP_NET_RAW = Buffer.from('0100000200200000000000000000000000000000', 'hex')

function directory(...names: string[]): Build {
  return (fs, at) => {
    fs.mkdir(at, 0o750)
    for (const name of names) file(name)(fs, joinBytes(at, bytes(name)))
    fs.setxattr(at, bytes('user.shape'), Buffer.from('round'))
    fs.chown(at, 56, 78)
    fs.utimes(at, OLD_NS, OLD_NS + 2n)
  }
}

function setGroupIdDirectory(fs: SyncFs, at: ByteString): void {
  directory('f')(fs, at)
  fs.chmod(at, 0o3775)
  fs.utimes(at, OLD_NS, OLD_NS + 2n)
}

function opaque(...names: string[]): Build {
  return (fs, at) => {
    directory(...names)(fs, at)
    makeOpaque(fs as HostFs, at)
    fs.utimes(at, OLD_NS, OLD_NS + 3n)
  }
}

function emptied(...names: string[]): Build {
  return (fs, at) => {
    directory()(fs, at)
    for (const name of names) makeWhiteout(fs as HostFs, joinBytes(at, bytes(name)))
    fs.utimes(at, OLD_NS, OLD_NS + 4n)
  }
}

function whiteout(fs: SyncFs, at: ByteString): void {
  makeWhiteout(fs as HostFs, at)
}

function symlink(target: string): Build {
  return (fs, at) => {
    fs.symlink(bytes(target), at)
    fs.chown(at, 12, 34)
    fs.utimes(at, OLD_NS, OLD_NS + 5n)
  }
}

/** A symlink to a name beside it, where `build` creates something. */
function symlinkTo(build: Build): Build {
  return (fs, at) => {
    build(fs, bytes(`${at}-target`))
    symlink(`${baseOf(at)}-target`)(fs, at)
  }
}

function absoluteSymlink(fs: SyncFs, at: ByteString): void {
  file('target')(fs, bytes(`${at}-target`))
  symlink(`/../${at}-target`)(fs, at)
}

function node(type: 'fifo' | 'socket' | 'char' | 'block', device = { major: 0, minor: 0 }): Build {
  return (fs, at) => {
    fs.mknod(at, type, 0o620, device)
    fs.chown(at, 12, 34)
    fs.utimes(at, OLD_NS, OLD_NS + 6n)
  }
}
