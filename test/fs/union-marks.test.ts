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
import { Bench, noOracle } from './union-bench.js'
import { bytes } from './union-layers.js'

const { O_CREAT, O_RDONLY, O_WRONLY } = constants
const reason = noOracle()
const X = bytes('d/x')
const D = bytes('d')

const benches: Bench[] = []
afterEach(() => {
  for (const bench of benches.splice(0)) bench.remove()
})

/** Each way to hide what is below, as somebody may have written it. */
const WHITEOUTS: Record<string, (fs: HostFs) => void> = {
  'a device 0:0': (fs) => void expect(makeWhiteoutDevice(fs, X)).toBe(true),
  'a .wh. file': (fs) => makeWhiteoutFile(fs, X),
  both: (fs) => {
    makeWhiteoutDevice(fs, X)
    makeWhiteoutFile(fs, X)
  },
}
const OPAQUES: Record<string, (fs: HostFs) => void> = {
  'trusted.overlay.opaque': (fs) => fs.setxattr(D, bytes('trusted.overlay.opaque'), Buffer.from('y')),
  'user.overlay.opaque': (fs) => fs.setxattr(D, bytes('user.overlay.opaque'), Buffer.from('y')),
  'a .wh..wh..opq file': (fs) => write(fs, 'd/.wh..wh..opq', ''),
  'what is made here': (fs) => makeOpaque(fs, D),
}

describe('marks', () => {
  for (const [form, make] of Object.entries(WHITEOUTS)) {
    const takesDevice = unless(form === 'a .wh. file' ? undefined : noCalls)
    it(`hide a lower name by ${form}, until it is removed`, takesDevice, () => {
      const { upper } = made().layers
      make(upper)
      expect(readOverlayDir(upper, D)).toMatchObject({ entries: [], opaque: false })
      expect([...readOverlayDir(upper, D).whiteouts]).toEqual(['x'])
      expect(removeWhiteout(upper, X)).toBe(true)
      expect(removeWhiteout(upper, X)).toBe(false)
      expect(upper.readdir(D)).toEqual([])
    })

    it(`of lower layers, as ${form}, count for what is below them`, takesDevice, () => {
      const bench = made()
      bench.layers.mid.mkdir(D, 0o755)
      make(bench.layers.mid)
      expect(namesOf(bench.union(), D)).toEqual(['y'])
    })

    for (const [what, create, shows] of [
      ['file', (fs: SyncFs) => write(fs, X, 'new'), 'file'],
      ['symlink', (fs: SyncFs) => fs.symlink(bytes('y'), X), 'symlink'],
      ['directory', (fs: SyncFs) => fs.mkdir(X, 0o755), 'directory'],
      ['fifo', (fs: SyncFs) => fs.mknod(X, 'fifo', 0o644), 'fifo'],
      ['link', (fs: SyncFs) => fs.link(bytes('d/y'), X), 'file'],
      ['renamed file', (fs: SyncFs) => fs.rename(bytes('d/y'), X), 'file'],
    ] as const) {
      it(`give way to a ${what} that is made over ${form}`, takesDevice, () => {
        const bench = made()
        make(bench.layers.upper)
        const union = bench.union()
        create(union)
        expect(union.lstat(X).type).toBe(shows)
        if (shows === 'directory') expect(union.readdir(X)).toEqual([])
        union.close()
        const again = bench.union()
        expect(again.lstat(X).type).toBe(shows)
        if (shows === 'directory') expect(again.readdir(X)).toEqual([])
        if (form === 'both') return
        expect(bench.layers.upper.readdir(D).filter(({ name }) => name === '.wh.x')).toEqual([])
      })
    }

    it(`come back when what was made over ${form} is removed`, takesDevice, () => {
      const bench = made()
      make(bench.layers.upper)
      const union = bench.union()
      union.mkdir(X, 0o755)
      write(union, 'd/x/file', 'new')
      union.unlink(bytes('d/x/file'))
      union.rmdir(X)
      expect(namesOf(union, D)).toEqual(['y'])
      expect(namesOf(bench.union(), D)).toEqual(['y'])
    })
  }

  for (const [form, make] of Object.entries(OPAQUES)) {
    const isTrusted = form.startsWith('trusted')
    it(`hide all of a lower directory by ${form}`, unless(isTrusted ? reason : undefined), () => {
      const bench = made()
      const { upper } = bench.layers
      expect(readOverlayDir(upper, D).opaque).toBe(false)
      make(upper)
      expect(readOverlayDir(upper, D)).toMatchObject({ entries: [], opaque: true })
      write(upper, 'd/own', 'own')
      expect(namesOf(bench.union(), D)).toEqual(['own'])
      expect(bench.union().listxattr(D)).toEqual([])
    })
  }

  it('that are .wh. files beside a name hide the lower ones, never the one of the same layer', () => {
    const bench = made()
    const { upper, low } = bench.layers
    low.mkdir(bytes('d/sub'), 0o755)
    write(low, 'd/sub/lower', '')
    upper.mkdir(bytes('d/sub'), 0o755)
    makeWhiteoutFile(upper, bytes('d/sub'))
    write(upper, 'd/sub/own', '')
    expect(namesOf(bench.union(), bytes('d/sub'))).toEqual(['own'])
    const union = bench.union()
    union.unlink(bytes('d/sub/own'))
    union.rmdir(bytes('d/sub'))
    expect(namesOf(union, D)).toEqual(['x', 'y'])
    expect(namesOf(bench.union(), D)).toEqual(['x', 'y'])
  })

  it('of other programs are no files, and cannot be made through a union', () => {
    const bench = made()
    bench.layers.upper.mkdir(bytes('.wh..wh.plnk'), 0o755)
    const union = bench.union()
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

  it('are made only where a lower layer shows the name (fuse-overlayfs#327)', () => {
    const bench = made()
    const union = bench.union()
    write(union, 'd/new', '')
    union.rename(bytes('d/new'), bytes('d/renamed'))
    union.mkdir(bytes('d/dir'), 0o755)
    union.rename(bytes('d/dir'), bytes('d/dir2'))
    union.rmdir(bytes('d/dir2'))
    union.unlink(bytes('d/renamed'))
    expect(bench.marks(bytes(''))).toEqual(['/d directory'])
    expect(bench.layers.upper.readdir(D)).toEqual([])
  })

  it('are told from other devices and other xattrs', unless(noCalls), () => {
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

describe('the overlay’s xattrs', () => {
  it('are not shown, and not copied up', () => {
    const bench = made()
    const { low, upper } = bench.layers
    low.setxattr(X, bytes('user.overlay.origin'), Buffer.from('lower'))
    low.setxattr(X, bytes('user.mine'), Buffer.from('mine'))
    const union = bench.union()
    union.chmod(X, 0o600)
    expect(union.listxattr(X)).toEqual(['user.mine'])
    expect(union.getxattr(X, bytes('user.overlay.origin'))).toBeUndefined()
    expect(upper.listxattr(X)).toEqual(['user.mine'])
  })

  it('that are set belong to an overlay inside, and are kept under another name', () => {
    const bench = made()
    const union = bench.union()
    union.setxattr(X, bytes('user.overlay.opaque'), Buffer.from('y'))
    expect(union.listxattr(X)).toEqual(['user.overlay.opaque'])
    expect(bench.layers.upper.listxattr(X)).toEqual(['user.overlay.overlay.opaque'])
    union.rename(X, bytes('d/z'))
    union.removexattr(bytes('d/z'), bytes('user.overlay.opaque'))
    expect(union.listxattr(bytes('d/z'))).toEqual([])
    expect(() => union.setxattr(D, bytes('user.fuseoverlayfs.opaque'), Buffer.from('y'))).toThrow(
      expect.objectContaining({ code: 'EPERM' }),
    )
  })

  it('are kept as the kernel keeps them', unless(reason), () => {
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

describe('an upper directory with features that Docker turns off', unless(reason), () => {
  it('is refused where a directory was renamed by reference', () => {
    const bench = made()
    mountWith(bench, 'redirect_dir=on', (root) => execFileSync('mv', [join(root, 'd'), join(root, 'moved')]))
    const union = bench.union()
    expect(namesOf(union, bytes(''))).toEqual(['moved'])
    expect(() => union.readdir(bytes('moved'))).toThrow(expect.objectContaining({ code: 'EPERM' }))
    expect(() => union.lstat(bytes('moved/x'))).toThrow(expect.objectContaining({ code: 'EPERM' }))
  })

  it('is refused where a file has its metadata alone', () => {
    const bench = made()
    mountWith(bench, 'metacopy=on', (root) => execFileSync('chmod', ['600', join(root, 'd/x')]))
    const union = bench.union()
    for (const flags of [O_RDONLY, O_WRONLY]) {
      expect(() => union.open(X, flags)).toThrow(expect.objectContaining({ code: 'EPERM' }))
    }
    expect(union.open(bytes('d/y'), O_RDONLY).close()).toBeUndefined()
  })
})

/** `low` has `d/x` and `d/y`; `upper` has `d`. */
function made(): Bench {
  const bench = new Bench()
  benches.push(bench)
  const { low, upper } = bench.layers
  for (const fs of [low, upper]) fs.mkdir(D, 0o755)
  write(low, X, 'lower x')
  write(low, 'd/y', 'lower y')
  return bench
}

function mountWith(bench: Bench, option: string, change: (root: string) => void): void {
  const at = (name: string) => join(bench.root, name)
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
