import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { ConformanceCase } from '../case.js'
import { collect, same } from '../subject.js'
import { chunksOf } from '../tar-of.js'
import { mustComeBack } from './editing.js'
import { BASE, CHANGED, CHANGES } from './samples.js'

/** What a layer's diff and its changes report. */
export const diffing: readonly ConformanceCase[] = [
  {
    name: 'returns a diff that makes the same layer on a copy of the parent',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.layer('app', 'base', CHANGES)
      const tar = await subject.diff('app', 'base')
      assert.ok((await subject.diff('app', 'base')).equals(tar), 'two diffs of the same tree differ')
      await subject.layer('copy', undefined)
      await subject.apply('copy', undefined, await subject.diff('base'))
      await subject.driver.create('again', 'copy')
      await subject.apply('again', 'copy', tar)
      same(await subject.fullTree('again'), await subject.fullTree('app'), 'the layer made from the diff')
    },
  },
  {
    name: 'counts each file once in a size, however many names it has',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.container('app', 'base', CHANGES)
      const size = 'hello\n'.length + 'root:x:0:0\nme:x:1000:1000\n'.length + 'new'.length
      assert.equal(await subject.driver.diffSize('app', 'base'), size)
      await subject.driver.create('again', 'base')
      assert.equal(await subject.apply('again', 'base', await subject.diff('app', 'base')), size)
    },
  },
  {
    name: 'returns the whole tree as the diff without a parent',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.layer('app', 'base', CHANGES)
      await subject.layer('whole', undefined)
      await subject.apply('whole', undefined, await subject.diff('app'))
      same(await subject.fullTree('whole'), await subject.fullTree('app'), 'the whole tree')
    },
  },
  {
    name: 'returns the diff of two layers that are not adjacent',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.layer('middle', 'base', [
        { do: 'create', path: '/middle', content: 'm' },
        { do: 'remove', path: '/usr/lib/a' },
      ])
      await subject.layer('top', 'middle', CHANGES)
      await subject.driver.create('again', 'base')
      await subject.apply('again', 'base', await subject.diff('top', 'base'))
      same(await subject.fullTree('again'), await subject.fullTree('top'), 'the layer made from the diff')
    },
  },
  {
    name: 'lists changes in path order, with their directories',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.container('container', 'base', CHANGES)
      assert.deepEqual(await subject.changes('container', 'base'), CHANGED)
    },
  },
  {
    name: 'lists every path as added if there is no parent',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      const paths = [...(await subject.tree('base')).keys()].filter((path) => path !== '/')
      assert.deepEqual(
        await subject.changes('base'),
        paths.map((path) => `add ${path}`),
      )
    },
  },
  {
    name: 'lists no changes of an unchanged layer, and returns the empty tar as its diff',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.container('container', 'base')
      assert.deepEqual(await subject.changes('container', 'base'), [])
      assert.ok((await subject.diff('container', 'base')).equals(Buffer.alloc(1024)), 'not 1024 zeros')
      assert.equal(await subject.driver.diffSize('container', 'base'), 0)
    },
  },
  {
    name: 'lists no changes for objects that were created and removed again',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.container('container', 'base', [
        { do: 'mkdir', path: '/short' },
        { do: 'create', path: '/short/lived', content: 'x' },
        { do: 'remove', path: '/short' },
      ])
      assert.deepEqual(await subject.changes('container', 'base'), [])
    },
  },
  {
    name: 'marks a directory opaque only if the parent has a directory of that name',
    async run(subject) {
      await subject.layer('base', undefined, [
        { do: 'mkdir', path: '/old' },
        { do: 'create', path: '/old/file', content: '' },
      ])
      await subject.container('fresh', 'base', [
        { do: 'mkdir', path: '/new' },
        { do: 'create', path: '/new/file', content: '' },
      ])
      const tar = (await subject.diff('fresh', 'base')).toString('latin1')
      assert.equal(tar.includes('.wh.'), false, 'the diff of a new directory contains a whiteout')
      await subject.container('replaced', 'base', [
        { do: 'remove', path: '/old' },
        { do: 'mkdir', path: '/old' },
      ])
      assert.deepEqual(await subject.changes('replaced', 'base'), ['modify /old', 'delete /old/file'])
      await mustComeBack(subject, 'replaced', 'base')
    },
  },
  {
    name: 'detects a write of the same size with a restored time and a changed mode',
    async run(subject) {
      const time = { do: 'mtime', path: '/file', ns: 1_500_000_000_123_456_789n } as const
      await subject.layer('base', undefined, [{ do: 'create', path: '/file', content: 'old' }, time])
      await subject.container('container', 'base', [
        { do: 'chmod', path: '/file', mode: 0o600 },
        { do: 'patch', path: '/file', at: 0, content: 'new' },
        time,
      ])
      assert.deepEqual(await subject.changes('container', 'base'), ['modify /file'])
    },
  },
  {
    name: 'detects a write of the same size within the same second',
    async run(subject) {
      await subject.layer('base', undefined, [
        { do: 'create', path: '/file', content: 'old' },
        { do: 'mtime', path: '/file', ns: 1_500_000_000_000_000_000n },
      ])
      await subject.container('container', 'base', [
        { do: 'patch', path: '/file', at: 0, content: 'new' },
        { do: 'mtime', path: '/file', ns: 1_500_000_000_500_000_000n },
      ])
      assert.deepEqual(await subject.changes('container', 'base'), ['modify /file'])
    },
  },
  {
    name: 'sorts changes by path component, so changes below dir and dir-x do not mix',
    async run(subject) {
      await subject.layer('base', undefined, [
        { do: 'mkdir', path: '/dir-x' },
        { do: 'mkdir', path: '/dir' },
        { do: 'create', path: '/dir-x/b', content: '' },
        { do: 'create', path: '/dir/a', content: '' },
      ])
      await subject.container('container', 'base', [
        { do: 'remove', path: '/dir' },
        { do: 'create', path: '/dir-x/c', content: '' },
      ])
      assert.deepEqual(await subject.changes('base'), [
        'add /dir',
        'add /dir/a',
        'add /dir-x',
        'add /dir-x/b',
      ])
      assert.deepEqual(await subject.changes('container', 'base'), [
        'delete /dir',
        'modify /dir-x',
        'add /dir-x/c',
      ])
    },
  },
  {
    name: 'applies tars to several layers at once',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      const tar = await subject.diff('base')
      const ids = Array.from({ length: 6 }, (_, index) => `layer${index}`)
      await Promise.all(ids.map((id) => subject.driver.create(id)))
      await Promise.all(ids.map((id) => subject.apply(id, undefined, tar)))
      const expected = await subject.fullTree('base')
      for (const id of ids) same(await subject.fullTree(id), expected, id)
    },
  },
  {
    name: 'returns a stable diff while a sibling layer is written',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.container('one', 'base', CHANGES)
      await subject.container('two', 'base')
      const [tar] = await Promise.all([subject.diff('one', 'base'), subject.edit('two', CHANGES)])
      assert.ok((await subject.diff('one', 'base')).equals(tar))
      await subject.mustMatchReference('two')
    },
  },
  {
    name: "stops an aborted diff or apply with the signal's reason",
    async run(subject) {
      const { driver } = subject
      await driver.create('base')
      await subject.inView('base', async (fs) => {
        for (let index = 0; index < 40; index++) await fs.writeFile(`/file${index}`, randomBytes(200_000))
      })
      const tar = await subject.diff('base')
      const signal = AbortSignal.abort(new Error('enough'))
      await assert.rejects(collect(driver.diff('base', undefined, { signal })), /enough/)
      await driver.create('other')
      await assert.rejects(driver.applyDiff('other', undefined, chunksOf(tar), { signal }), /enough/)
      await driver.remove('other')
      assert.equal(await driver.exists('other'), false)
    },
  },
  {
    name: 'releases a layer whose diff was only partly read',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.container('container', 'base', CHANGES)
      for await (const chunk of subject.driver.diff('container', 'base')) {
        assert.ok((chunk as Uint8Array).length > 0)
        break
      }
      for await (const change of subject.driver.changes('container', 'base')) {
        assert.ok(change.path.startsWith('/'))
        break
      }
      await subject.driver.remove('container')
    },
  },
]
