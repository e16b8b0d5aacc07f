import assert from 'node:assert/strict'
import type { ConformanceCase } from '../case.js'
import type { Edit } from '../edit.js'
import type { Subject } from '../subject.js'
import { mustComeBack } from './editing.js'

const TIME = 1_500_000_000_123_456_789n

function file(path: string, content: string): readonly Edit[] {
  return [{ do: 'create', path, content }, pinned(path)]
}

function pinned(path: string, ns = TIME): Edit {
  return { do: 'mtime', path, ns }
}

/**
 * Changes that keep type, mode, owner, size and modification time. Archivers, `rsync -t` and reproducible builds make
 * them. A commit that misses such a change loses the only copy of the data.
 */
export const silentWrites: readonly ConformanceCase[] = [
  {
    name: 'detects a write of the same size with a restored time',
    async run(subject) {
      await subject.layer('base', undefined, [...file('/file', 'old'), ...file('/other', 'old')])
      await subject.container('container', 'base', [
        { do: 'patch', path: '/file', at: 0, content: 'new' },
        pinned('/file'),
      ])
      assert.deepEqual(await subject.changes('container', 'base'), ['modify /file'])
      await mustComeBack(subject, 'container', 'base')
    },
  },
  {
    name: 'detects a write of the same size and time in an adopted layer, and in its child',
    unless: ({ adopt }) => (adopt === undefined ? 'the driver cannot adopt a writable layer' : undefined),
    async run(subject) {
      await subject.layer('base', undefined, [...file('/first', 'old'), ...file('/second', 'old')])
      await subject.container('container', 'base', [
        { do: 'patch', path: '/first', at: 0, content: 'new' },
        pinned('/first'),
      ])
      await subject.driver.adopt?.('container', 'adopted')
      assert.deepEqual(await subject.changes('adopted', 'base'), ['modify /first'])
      await subject.reopen()
      assert.deepEqual(await subject.changes('adopted', 'base'), ['modify /first'])
      await subject.container('child', 'adopted', [
        { do: 'patch', path: '/second', at: 0, content: 'new' },
        pinned('/second'),
      ])
      assert.deepEqual(await subject.changes('child', 'adopted'), ['modify /second'])
      assert.deepEqual(await subject.changes('child', 'base'), ['modify /first', 'modify /second'])
    },
  },
  {
    name: 'detects a write of the same size and time if times have only whole seconds',
    async run(subject) {
      const second = 1_500_000_000_000_000_000n
      await subject.layer('base', undefined, [...file('/file', 'old'), pinned('/file', second)])
      await subject.container('container', 'base', [
        { do: 'patch', path: '/file', at: 0, content: 'new' },
        pinned('/file', second),
      ])
      assert.deepEqual(await subject.changes('container', 'base'), ['modify /file'])
    },
  },
  {
    name: 'detects two swapped files of equal size and time',
    async run(subject) {
      await subject.layer('base', undefined, [...file('/one', 'ONE'), ...file('/two', 'TWO')])
      await subject.container('container', 'base', [
        { do: 'rename', path: '/one', to: '/aside' },
        { do: 'rename', path: '/two', to: '/one' },
        { do: 'rename', path: '/aside', to: '/two' },
      ])
      assert.deepEqual(await subject.changes('container', 'base'), ['modify /one', 'modify /two'])
      await mustComeBack(subject, 'container', 'base')
    },
  },
  {
    name: 'detects files of equal size and time in swapped directories',
    async run(subject) {
      await subject.layer('base', undefined, [
        { do: 'mkdir', path: '/one' },
        { do: 'mkdir', path: '/two' },
        ...file('/one/file', 'ONE'),
        ...file('/two/file', 'TWO'),
      ])
      await subject.container('container', 'base')
      if (!(await exchange(subject, '/one', '/two'))) return
      assert.deepEqual(await subject.changes('container', 'base'), [
        ...['modify /one', 'modify /one/file', 'modify /two', 'modify /two/file'],
      ])
      await mustComeBack(subject, 'container', 'base')
    },
  },
  {
    name: 'detects swapped directories of equal files, one of which has other names',
    async run(subject) {
      const directories = ['/one', '/stays', '/two']
      await subject.layer('base', undefined, [
        ...directories.map((path): Edit => ({ do: 'mkdir', path })),
        ...[...file('/stays/file', 'same'), ...file('/two/file', 'same')],
        { do: 'link', path: '/stays/file', to: '/one/file' },
        ...directories.map((path) => pinned(path)),
      ])
      await subject.container('container', 'base')
      if (!(await exchange(subject, '/one', '/two'))) return
      await mustComeBack(subject, 'container', 'base')
    },
  },
  {
    name: 'detects a new symlink target of the same length',
    async run(subject) {
      await subject.layer('base', undefined, [
        { do: 'symlink', path: '/link', target: 'one' },
        pinned('/link'),
      ])
      await subject.container('container', 'base', [
        { do: 'remove', path: '/link' },
        { do: 'symlink', path: '/link', target: 'two' },
        pinned('/link'),
      ])
      assert.deepEqual(await subject.changes('container', 'base'), ['modify /link'])
    },
  },
  {
    name: 'detects that two names of one file became two equal files',
    async run(subject) {
      await subject.layer('base', undefined, [
        ...file('/one', 'same'),
        { do: 'link', path: '/one', to: '/two' },
      ])
      await subject.container('container', 'base', [{ do: 'remove', path: '/two' }, ...file('/two', 'same')])
      assert.deepEqual(await subject.changes('container', 'base'), ['modify /two'])
      await mustComeBack(subject, 'container', 'base')
    },
  },
  {
    name: 'detects that two equal files became two names of one file',
    async run(subject) {
      await subject.layer('base', undefined, [...file('/one', 'same'), ...file('/two', 'same')])
      await subject.container('container', 'base', [
        { do: 'remove', path: '/two' },
        { do: 'link', path: '/one', to: '/two' },
      ])
      assert.deepEqual(await subject.changes('container', 'base'), ['modify /one', 'modify /two'])
      await mustComeBack(subject, 'container', 'base')
    },
  },
  {
    name: 'detects that two pairs of hard links exchanged names',
    async run(subject) {
      await subject.layer('base', undefined, [
        ...file('/a', 'same'),
        { do: 'link', path: '/a', to: '/b' },
        ...file('/c', 'same'),
        { do: 'link', path: '/c', to: '/d' },
      ])
      await subject.container('container', 'base', [
        { do: 'remove', path: '/b' },
        { do: 'remove', path: '/c' },
        { do: 'link', path: '/a', to: '/c' },
        { do: 'link', path: '/d', to: '/b' },
      ])
      await mustComeBack(subject, 'container', 'base')
    },
  },
]

/** Swaps two directories of a lower layer. @returns `false` if the driver refuses to rename such directories */
function exchange(subject: Subject, one: string, two: string): Promise<boolean> {
  return subject.inView('container', async (fs) => {
    try {
      await fs.rename(one, '/aside')
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EXDEV')
      return false
    }
    await fs.rename(two, one)
    await fs.rename('/aside', two)
    return true
  })
}
