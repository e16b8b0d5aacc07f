import { constants } from 'node:fs'
import { joinBytes, type ByteString } from '#layerstack/fs/bytes.js'
import type { HostFs } from '#layerstack/fs/host-fs.js'
import { makeOpaque, makeWhiteout } from '#layerstack/fs/overlay-marks.js'
import type { RawFs } from '#layerstack/fs/raw-fs.js'

/** The layers of every tree in these tests: an upper one, and two lower ones, `mid` above `low`. */
export type LayerName = 'low' | 'mid' | 'upper'
export const LAYER_NAMES: readonly LayerName[] = ['low', 'mid', 'upper']

type Build = (fs: HostFs, at: ByteString) => void

/** Something that may be at a path of a union, named by what it is and by the layers that it is made of. */
export interface UnionObject {
  readonly name: string
  readonly special: boolean
  readonly layers: Partial<Record<LayerName, Build>>
}

export const bytes = (text: string) => text as ByteString
/** Of everything that is made before a test acts. */
export const OLD_NS = 1_000_000_000_123_456_789n

export const OBJECTS: readonly UnionObject[] = [
  object('nothing', {}),
  ...['low', 'upper'].map((layer) => object(`file in ${layer}`, { [layer]: file(layer) })),
  object('file in mid and low', { low: file('low'), mid: file('mid') }),
  object('file in upper and low', { low: file('low'), upper: file('upper') }),
  object('file, whiteout in upper', { low: file('low'), upper: whiteout }),
  object('file, whiteout in mid', { low: file('low'), mid: whiteout }),
  object('file, whiteout in mid, file in upper', { low: file('low'), mid: whiteout, upper: file('upper') }),
  ...['low', 'upper'].map((layer) => object(`linked file in ${layer}`, { [layer]: linkedFile })),
  object('linked file in low, copied up', { low: linkedFile, upper: file('upper') }),
  object('set-id file with capability in low', { low: setIdFile }),
  ...['low', 'upper'].map((layer) => object(`empty directory in ${layer}`, { [layer]: directory() })),
  ...['low', 'upper'].map((layer) => object(`directory in ${layer}`, { [layer]: directory('f') })),
  object('empty directory in mid and low', { low: directory(), mid: directory() }),
  object('directory in mid and low', { low: directory('f', 'g'), mid: directory('f') }),
  object('empty directory in upper and low', { low: directory(), upper: directory() }),
  object('directory in upper and low', { low: directory('f', 'g'), upper: directory('f') }),
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
  object('directory, whiteout in upper', { low: directory('f'), upper: whiteout }),
  object('directory, whiteout in mid', { low: directory('f'), mid: whiteout }),
  object('directory over whiteout in mid', { low: directory('f'), mid: whiteout, upper: directory('h') }),
  object('file in upper over directory in low', { low: directory('f'), upper: file('upper') }),
  object('file in mid over directory in low', { low: directory('f'), mid: file('mid') }),
  object('directory in upper over file in low', { low: file('low'), upper: directory('f') }),
  object('directory, file, directory', { low: directory('f'), mid: file('mid'), upper: directory('h') }),
  ...['low', 'upper'].map((layer) => object(`symlink in ${layer}`, { [layer]: symlink(layer) })),
  object('symlink in upper and low', { low: symlink('low'), upper: symlink('upper') }),
  object('symlink, whiteout in upper', { low: symlink('low'), upper: whiteout }),
  ...['low', 'upper'].map((layer) => object(`fifo in ${layer}`, { [layer]: node('fifo') }, true)),
  object('socket in low', { low: node('socket') }, true),
  ...['low', 'upper'].map((layer) => object(`device in ${layer}`, { [layer]: node('char') }, true)),
  object('block device in low', { low: node('block') }, true),
]

/** Makes a case's directory in each layer: the object `x`, and beside it a file `other`, in `low`. */
export function buildCase(
  layers: Record<LayerName, HostFs>,
  at: ByteString,
  objects: Record<string, UnionObject>,
) {
  for (const layer of LAYER_NAMES) {
    const fs = layers[layer]
    const builds = Object.entries(objects).map(
      ([name, { layers: made }]) => [bytes(name), made[layer]] as const,
    )
    if (layer !== 'low' && builds.every(([, build]) => build === undefined)) continue
    fs.mkdir(at, 0o755)
    if (layer === 'low') file('other')(fs, joinBytes(at, bytes('other')))
    for (const [name, build] of builds) build?.(fs, joinBytes(at, name))
    fs.utimes(at, OLD_NS, OLD_NS)
  }
}

/**
 * Sprinkles marks over a layer: some directories become opaque, and in those that are merged with lower ones, some files
 * become whiteouts. (Elsewhere there is nothing to hide, and a kernel lists the whiteouts themselves.)
 */
export function sprinkleMarks(fs: HostFs, below: RawFs, random: () => number, dir = bytes('')): void {
  for (const { name, type } of fs.readdir(dir).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = joinBytes(dir, name)
    if (type !== 'directory') {
      if (random() < 0.5) continue
      fs.unlink(path)
      makeWhiteout(fs, path)
    } else if (random() < 0.25) {
      makeOpaque(fs, path)
    } else if (isDirectory(below, path)) {
      sprinkleMarks(fs, below, random, path)
    }
  }
}

function isDirectory(fs: RawFs, path: ByteString): boolean {
  try {
    return fs.lstat(path).type === 'directory'
  } catch {
    return false
  }
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

function linkedFile(fs: HostFs, at: ByteString): void {
  file('linked')(fs, at)
  fs.link(at, bytes(`${at}-link`))
}

function setIdFile(fs: HostFs, at: ByteString): void {
  file('set-id')(fs, at)
  fs.chmod(at, 0o6755)
  fs.utimes(at, OLD_NS, OLD_NS)
}

function directory(...names: string[]): Build {
  return (fs, at) => {
    fs.mkdir(at, 0o750)
    for (const name of names) file(name)(fs, joinBytes(at, bytes(name)))
    fs.setxattr(at, bytes('user.shape'), Buffer.from('round'))
    fs.chown(at, 56, 78)
    fs.utimes(at, OLD_NS, OLD_NS + 2n)
  }
}

function opaque(...names: string[]): Build {
  return (fs, at) => {
    directory(...names)(fs, at)
    makeOpaque(fs, at)
    fs.utimes(at, OLD_NS, OLD_NS + 3n)
  }
}

function emptied(...names: string[]): Build {
  return (fs, at) => {
    directory()(fs, at)
    for (const name of names) makeWhiteout(fs, joinBytes(at, bytes(name)))
    fs.utimes(at, OLD_NS, OLD_NS + 4n)
  }
}

function whiteout(fs: HostFs, at: ByteString): void {
  makeWhiteout(fs, at)
}

function symlink(target: string): Build {
  return (fs, at) => {
    fs.symlink(bytes(`../somewhere/${target}`), at)
    fs.chown(at, 12, 34)
    fs.utimes(at, OLD_NS, OLD_NS + 5n)
  }
}

function node(type: 'fifo' | 'socket' | 'char' | 'block'): Build {
  return (fs, at) => {
    fs.mknod(at, type, 0o620, type === 'char' || type === 'block' ? { major: 1, minor: 259 } : undefined)
    fs.chown(at, 12, 34)
    fs.utimes(at, OLD_NS, OLD_NS + 6n)
  }
}
