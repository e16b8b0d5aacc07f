/** @module-tag thorough */
import { constants, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import { makeWhiteout } from '#layerstack/fs/overlay-marks.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import { UnionFs } from '#layerstack/fs/union/union-fs.js'
import { ATTRIBUTES, OverlayFixture } from './overlay-fixture.js'
import { bytes } from './union-layers.js'

const { O_CREAT, O_RDONLY, O_RDWR, O_WRONLY } = constants
const LAYERS = 500
const ROOT = bytes('')

const fixtures: OverlayFixture[] = []
afterEach(() => {
  for (const fixture of fixtures.splice(0)) fixture.remove()
})

describe('a union of 500 lower layers', () => {
  it('merges all of them, uppermost first, and does not write to a lower file', () => {
    const { union, layers } = tower()
    for (const number of [0, 1, 250, LAYERS - 1]) {
      expect(read(union, `common/only-in-${number}`)).toBe(String(number))
    }
    expect(read(union, 'common/in-all')).toBe('0')
    expect(union.readdir(bytes('common'))).toHaveLength(LAYERS + 1)
    expect(union.lstat(bytes('common')).nlink).toBe(1)
    union.unlink(bytes('common/in-all'))
    union.unlink(bytes('common/only-in-7'))
    expect(union.readdir(bytes('common'))).toHaveLength(LAYERS - 1)
    write(union, 'common/only-in-499', 'changed')
    expect(read(union, 'common/only-in-499')).toBe('changed')
    expect(read(layers[LAYERS - 1] as HostFs, 'common/only-in-499')).toBe('499')
  })

  it('gives files of different layers distinct identities that do not change', () => {
    const { union, spec } = tower()
    const names = union.readdir(bytes('common')).map(({ name }) => bytes(`common/${name}`))
    const identities = names.map((name) => identity(union, name))
    expect(new Set(identities).size).toBe(names.length)
    write(union, 'common/new', '')
    expect(names.map((name) => identity(union, name))).toEqual(identities)
    expect(names.map((name) => identity(new UnionFs(spec), name))).toEqual(identities)
  })

  it('hides a file below a whiteout in the middle, not one above it', () => {
    const { layers, spec } = tower()
    makeWhiteout(layers[100] as HostFs, bytes('common/only-in-200'))
    makeWhiteout(layers[300] as HostFs, bytes('common/only-in-200'))
    makeWhiteout(layers[300] as HostFs, bytes('common/only-in-250'))
    const union = new UnionFs(spec)
    expect(() => union.lstat(bytes('common/only-in-200'))).toThrow(
      expect.objectContaining({ code: 'ENOENT' }),
    )
    expect(read(union, 'common/only-in-250')).toBe('250')
  })
})

describe('a union without an upper directory', () => {
  it('reads, and refuses every change with EROFS', () => {
    const { spec } = tower()
    const { upper: _none, ...lowers } = spec
    const union = new UnionFs(lowers)
    expect(union.readOnly).toBe(true)
    expect(read(union, 'common/in-all')).toBe('0')
    const path = bytes('common/in-all')
    for (const call of [
      () => union.open(path, O_RDWR),
      () => union.open(bytes('new'), O_CREAT),
      () => union.mkdir(bytes('new'), 0o755),
      () => union.unlink(path),
      () => union.rmdir(bytes('common')),
      () => union.rename(path, bytes('new')),
      () => union.link(path, bytes('new')),
      () => union.symlink(path, bytes('new')),
      () => union.mknod(bytes('new'), 'fifo', 0o644),
      () => union.chmod(path, 0o600),
      () => union.chown(path, 1, 1),
      () => union.utimes(path, 1n, 1n),
      () => union.truncate(path, 0),
      () => union.setxattr(path, bytes('user.x'), Buffer.from('x')),
    ]) {
      expect(call, String(call)).toThrow(expect.objectContaining({ code: 'EROFS' }))
    }
  })

  it('requires a lower layer', () => {
    expect(() => new UnionFs({ kind: 'union', lowers: [] })).toThrow(TypeError)
  })
})

describe('the directory cache of a union', () => {
  it('shows the right names with room for 100 of them', () => {
    const fixture = new OverlayFixture()
    fixtures.push(fixture)
    const { low } = fixture.layers
    for (let number = 0; number < 30; number += 1) {
      low.mkdir(bytes(`d${number}`), 0o755)
      for (let file = 0; file < 40; file += 1) write(low, `d${number}/f${file}`, `${number}.${file}`)
    }
    const union = new UnionFs(fixture.spec, { rememberedNames: 100 })
    for (let round = 0; round < 3; round += 1) {
      for (let number = 0; number < 30; number += 1) {
        const dir = `d${number}`
        write(union, `${dir}/new${round}`, 'new')
        union.unlink(bytes(`${dir}/f${round}`))
        union.rename(bytes(`${dir}/f${round + 10}`), bytes(`d${(number + 11) % 30}/moved${round}-${number}`))
        expect(union.readdir(bytes(dir)).some(({ name }) => name === `f${round}`)).toBe(false)
      }
    }
    expect(namesBelow(union)).toEqual(namesBelow(fixture.union()))
  })
})

function tower() {
  const fixture = new OverlayFixture()
  fixtures.push(fixture)
  const layers = Array.from({ length: LAYERS }, (_, number) => {
    const root = join(fixture.root, `layer-${number}`)
    mkdirSync(root)
    const fs = new HostFs({ kind: 'host', root, attributes: ATTRIBUTES })
    fs.mkdir(bytes('common'), 0o755)
    write(fs, 'common/in-all', String(number))
    write(fs, `common/only-in-${number}`, String(number))
    return fs
  })
  const spec = { ...fixture.spec, lowers: layers.map((fs) => fs.spec), volatile: true }
  return { union: new UnionFs(spec), spec, layers }
}

function namesBelow(fs: SyncFs, path: ByteString = ROOT): string[] {
  const names = fs.readdir(path).flatMap(({ name, type }) => {
    const child = bytes(path === '' ? name : `${path}/${name}`)
    return type === 'directory' ? namesBelow(fs, child) : [child as string]
  })
  return names.toSorted()
}

function identity(fs: SyncFs, path: ByteString): string {
  const { dev, ino } = fs.lstat(path)
  return `${dev}:${ino}`
}

function write(fs: SyncFs, path: string, content: string): void {
  const file = fs.open(bytes(path), O_WRONLY | O_CREAT, 0o644)
  file.write(Buffer.from(content), 0)
  file.close()
}

function read(fs: SyncFs, path: string): string {
  const file = fs.open(bytes(path), O_RDONLY)
  const buffer = Buffer.alloc(100)
  const count = file.read(buffer, 0)
  file.close()
  return buffer.toString('latin1', 0, count)
}
