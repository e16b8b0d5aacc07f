/** @module-tag every-identity */
import { execFileSync } from 'node:child_process'
import { constants } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import {
  isOverlayXattr,
  isWhiteoutAt,
  makeOpaque,
  makeWhiteout,
  makeWhiteoutDevice,
  makeWhiteoutFile,
  readOverlayDir,
  removeWhiteout,
} from '#layerstack/fs/overlay-marks.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import { noCalls, unless } from '../support/needs.js'
import { OverlayFixture, noOracle } from './overlay-fixture.js'
import { bytes } from './union-layers.js'

const { O_CREAT, O_RDONLY, O_WRONLY } = constants
const reason = noOracle()
const X = bytes('d/x')
const D = bytes('d')

const fixtures: OverlayFixture[] = []
afterEach(() => {
  for (const fixture of fixtures.splice(0)) fixture.remove()
})

/** Each form of a whiteout, as any tool may have written it. */
const WHITEOUTS: Record<string, (fs: HostFs) => void> = {
  'device 0:0': (fs) => void expect(makeWhiteoutDevice(fs, X)).toBe(true),
  '.wh. file': (fs) => makeWhiteoutFile(fs, X),
  'device 0:0 and .wh. file': (fs) => {
    makeWhiteoutDevice(fs, X)
    makeWhiteoutFile(fs, X)
  },
}
const OPAQUES: Record<string, (fs: HostFs) => void> = {
  'trusted.overlay.opaque': (fs) => fs.setxattr(D, bytes('trusted.overlay.opaque'), Buffer.from('y')),
  'user.overlay.opaque': (fs) => fs.setxattr(D, bytes('user.overlay.opaque'), Buffer.from('y')),
  '.wh..wh..opq file': (fs) => write(fs, 'd/.wh..wh..opq', ''),
  'made by makeOpaque()': (fs) => makeOpaque(fs, D),
}

describe('overlay marks', () => {
  for (const [form, make] of Object.entries(WHITEOUTS)) {
    const takesDevice = unless(form === '.wh. file' ? undefined : noCalls)
    it(`a whiteout hides a lower name until it is removed (${form})`, takesDevice, () => {
      const { upper } = made().layers
      make(upper)
      expect(readOverlayDir(upper, D)).toMatchObject({ entries: [], opaque: false })
      expect([...readOverlayDir(upper, D).whiteouts]).toEqual(['x'])
      expect(removeWhiteout(upper, X)).toBe(true)
      expect(removeWhiteout(upper, X)).toBe(false)
      expect(upper.readdir(D)).toEqual([])
    })

    it(`a whiteout in a lower layer hides a name of the layers below it (${form})`, takesDevice, () => {
      const fixture = made()
      fixture.layers.mid.mkdir(D, 0o755)
      make(fixture.layers.mid)
      expect(namesOf(fixture.union(), D)).toEqual(['y'])
    })

    for (const [kind, create, shows] of [
      ['file', (fs: SyncFs) => write(fs, X, 'new'), 'file'],
      ['symlink', (fs: SyncFs) => fs.symlink(bytes('y'), X), 'symlink'],
      ['directory', (fs: SyncFs) => fs.mkdir(X, 0o755), 'directory'],
      ['fifo', (fs: SyncFs) => fs.mknod(X, 'fifo', 0o644), 'fifo'],
      ['link', (fs: SyncFs) => fs.link(bytes('d/y'), X), 'file'],
      ['renamed file', (fs: SyncFs) => fs.rename(bytes('d/y'), X), 'file'],
    ] as const) {
      it(`a whiteout gives way to a new ${kind} (${form})`, takesDevice, () => {
        const fixture = made()
        make(fixture.layers.upper)
        const union = fixture.union()
        create(union)
        expect(union.lstat(X).type).toBe(shows)
        if (shows === 'directory') expect(union.readdir(X)).toEqual([])
        union.close()
        const again = fixture.union()
        expect(again.lstat(X).type).toBe(shows)
        if (shows === 'directory') expect(again.readdir(X)).toEqual([])
        if (form === 'device 0:0 and .wh. file') return
        expect(fixture.layers.upper.readdir(D).filter(({ name }) => name === '.wh.x')).toEqual([])
      })
    }

    it(`a whiteout returns when the directory made over it is removed (${form})`, takesDevice, () => {
      const fixture = made()
      make(fixture.layers.upper)
      const union = fixture.union()
      union.mkdir(X, 0o755)
      write(union, 'd/x/file', 'new')
      union.unlink(bytes('d/x/file'))
      union.rmdir(X)
      expect(namesOf(union, D)).toEqual(['y'])
      expect(namesOf(fixture.union(), D)).toEqual(['y'])
    })
  }

  for (const [form, make] of Object.entries(OPAQUES)) {
    const isTrusted = form.startsWith('trusted')
    it(
      `an opaque directory hides all lower entries, and its mark is not listed as an xattr (${form})`,
      unless(isTrusted ? reason : undefined),
      () => {
        const fixture = made()
        const { upper } = fixture.layers
        expect(readOverlayDir(upper, D).opaque).toBe(false)
        make(upper)
        expect(readOverlayDir(upper, D)).toMatchObject({ entries: [], opaque: true })
        write(upper, 'd/own', 'own')
        expect(namesOf(fixture.union(), D)).toEqual(['own'])
        expect(fixture.union().listxattr(D)).toEqual([])
      },
    )
  }

  it('a .wh. file hides its name in lower layers, never in its own layer', () => {
    const fixture = made()
    const { upper, low } = fixture.layers
    low.mkdir(bytes('d/sub'), 0o755)
    write(low, 'd/sub/lower', '')
    upper.mkdir(bytes('d/sub'), 0o755)
    makeWhiteoutFile(upper, bytes('d/sub'))
    write(upper, 'd/sub/own', '')
    expect(namesOf(fixture.union(), bytes('d/sub'))).toEqual(['own'])
    const union = fixture.union()
    union.unlink(bytes('d/sub/own'))
    union.rmdir(bytes('d/sub'))
    expect(namesOf(union, D)).toEqual(['x', 'y'])
    expect(namesOf(fixture.union(), D)).toEqual(['x', 'y'])
  })

  it('AUFS metadata is not listed, and marks cannot be created through a union', () => {
    const fixture = made()
    fixture.layers.upper.mkdir(bytes('.wh..wh.plnk'), 0o755)
    const union = fixture.union()
    expect(namesOf(union, bytes(''))).toEqual(['d'])
    for (const call of [
      () => write(union, '.wh.x', ''),
      () => union.mkdir(bytes('d/.wh..wh..opq'), 0o755),
      () => union.rename(X, bytes('d/.wh.z')),
      () => union.link(X, bytes('.wh.z')),
    ]) {
      expect(call).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    }
    const device = { major: 0, minor: 0 }
    expect(() => union.mknod(bytes('z'), 'char', 0, device)).toThrow(
      expect.objectContaining({ code: 'EPERM' }),
    )
  })

  it('no mark is created for a name that no lower layer shows (fuse-overlayfs#327)', () => {
    const fixture = made()
    const union = fixture.union()
    write(union, 'd/new', '')
    union.rename(bytes('d/new'), bytes('d/renamed'))
    union.mkdir(bytes('d/dir'), 0o755)
    union.rename(bytes('d/dir'), bytes('d/dir2'))
    union.rmdir(bytes('d/dir2'))
    union.unlink(bytes('d/renamed'))
    expect(fixture.marks(bytes(''))).toEqual(['/d directory'])
    expect(fixture.layers.upper.readdir(D)).toEqual([])
  })

  it('a directory is no whiteout, and other xattrs are no overlay xattrs', unless(noCalls), () => {
    const { upper } = made().layers
    makeWhiteout(upper, X)
    expect(isWhiteoutAt(upper, X)).toBe(true)
    expect(isWhiteoutAt(upper, D)).toBe(false)
    for (const name of ['trusted.overlay.origin', 'user.overlay.opaque', 'user.fuseoverlayfs.origin']) {
      expect(isOverlayXattr(bytes(name)), name).toBe(true)
    }
    for (const name of ['user.overlayer', 'security.capability', 'trusted.overlayfs']) {
      expect(isOverlayXattr(bytes(name)), name).toBe(false)
    }
  })
})

describe('overlay xattrs', () => {
  it('are neither listed nor copied up', () => {
    const fixture = made()
    const { low, upper } = fixture.layers
    low.setxattr(X, bytes('user.overlay.origin'), Buffer.from('lower'))
    low.setxattr(X, bytes('user.mine'), Buffer.from('mine'))
    const union = fixture.union()
    union.chmod(X, 0o600)
    expect(union.listxattr(X)).toEqual(['user.mine'])
    expect(union.getxattr(X, bytes('user.overlay.origin'))).toBeUndefined()
    expect(upper.listxattr(X)).toEqual(['user.mine'])
  })

  it('belong to a nested overlay if set through a union, and are stored under another name', () => {
    const fixture = made()
    const union = fixture.union()
    union.setxattr(X, bytes('user.overlay.opaque'), Buffer.from('y'))
    expect(union.listxattr(X)).toEqual(['user.overlay.opaque'])
    expect(fixture.layers.upper.listxattr(X)).toEqual(['user.overlay.overlay.opaque'])
    union.rename(X, bytes('d/z'))
    union.removexattr(bytes('d/z'), bytes('user.overlay.opaque'))
    expect(union.listxattr(bytes('d/z'))).toEqual([])
    expect(() => union.setxattr(D, bytes('user.fuseoverlayfs.opaque'), Buffer.from('y'))).toThrow(
      expect.objectContaining({ code: 'EPERM' }),
    )
  })

  it('are stored under the names that the kernel uses', unless(reason), () => {
    const [ours, theirs] = [made(), made()]
    const name = bytes('trusted.overlay.nested')
    const kernel = theirs.mount()
    const union = ours.union()
    for (const fs of [kernel, union]) {
      fs.setxattr(X, name, Buffer.from('value'))
      expect(fs.listxattr(X)).toEqual([name])
      expect(fs.getxattr(X, name)?.toString()).toBe('value')
    }
    theirs.unmount()
    const kept = theirs.layers.upper.listxattr(X).filter((each) => !each.endsWith('.origin'))
    expect(ours.layers.upper.listxattr(X)).toEqual(kept)
  })
})

describe('a union whose upper directory has features that Docker turns off', unless(reason), () => {
  it('refuses a directory that was renamed with redirect_dir=on', () => {
    const fixture = made()
    mountWith(fixture, 'redirect_dir=on', (root) =>
      execFileSync('mv', [join(root, 'd'), join(root, 'moved')]),
    )
    const union = fixture.union()
    expect(namesOf(union, bytes(''))).toEqual(['moved'])
    expect(() => union.readdir(bytes('moved'))).toThrow(expect.objectContaining({ code: 'EPERM' }))
    expect(() => union.lstat(bytes('moved/x'))).toThrow(expect.objectContaining({ code: 'EPERM' }))
  })

  it('refuses to open a file that was copied up with metacopy=on', () => {
    const fixture = made()
    mountWith(fixture, 'metacopy=on', (root) => execFileSync('chmod', ['600', join(root, 'd/x')]))
    const union = fixture.union()
    for (const flags of [O_RDONLY, O_WRONLY]) {
      expect(() => union.open(X, flags)).toThrow(expect.objectContaining({ code: 'EPERM' }))
    }
    expect(union.open(bytes('d/y'), O_RDONLY).close()).toBeUndefined()
  })
})

/** Returns a fixture with `d/x` and `d/y` in `low`, and `d` in `upper`. */
function made(): OverlayFixture {
  const fixture = new OverlayFixture()
  fixtures.push(fixture)
  const { low, upper } = fixture.layers
  for (const fs of [low, upper]) fs.mkdir(D, 0o755)
  write(low, X, 'lower x')
  write(low, 'd/y', 'lower y')
  return fixture
}

function mountWith(fixture: OverlayFixture, option: string, change: (root: string) => void): void {
  const at = (name: string) => join(fixture.root, name)
  const layers = `lowerdir=${at('mid')}:${at('low')},upperdir=${at('upper')},workdir=${at('work')}`
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', `${layers},${option}`, at('merged')])
  try {
    change(at('merged'))
  } finally {
    execFileSync('umount', [at('merged')])
  }
}

function write(fs: SyncFs, path: string, content: string): void {
  const file = fs.open(bytes(path), O_WRONLY | O_CREAT, 0o644)
  file.write(Buffer.from(content), 0)
  file.close()
}

function namesOf(fs: SyncFs, path: ByteString): string[] {
  return fs
    .readdir(path)
    .map(({ name }) => name)
    .toSorted()
}
