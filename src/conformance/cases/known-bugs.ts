import assert from 'node:assert/strict'
import type { ConformanceCase } from '../case.js'
import { same, type Subject } from '../subject.js'
import { tarOf } from '../tar-of.js'
import { mustComeBack } from './editing.js'
import { BASE, CHANGED, CHANGES } from './samples.js'

/** Bugs of other implementations, one per case. */
export const knownBugs: readonly ConformanceCase[] = [
  {
    // https://github.com/moby/moby/issues/33733: a renamed directory was missing from the image.
    name: 'moby#33733: a renamed directory is in the diff, with its content',
    async run(subject) {
      await subject.layer('base', undefined, [
        { do: 'mkdir', path: '/old' },
        { do: 'create', path: '/old/file', content: 'x' },
      ])
      await subject.driver.create('app', 'base')
      await subject.inView('app', async (fs) => {
        try {
          await fs.rename('/old', '/new')
        } catch (error) {
          // An overlay may refuse this rename with EXDEV, as between file systems. Programs then copy.
          assert.equal((error as NodeJS.ErrnoException).code, 'EXDEV')
          await fs.mkdir('/new')
          await fs.writeFile('/new/file', 'x')
          await fs.rm('/old', { recursive: true })
        }
      })
      assert.deepEqual(await subject.changes('app', 'base'), ['add /new', 'add /new/file', 'delete /old'])
      await mustComeBack(subject, 'app', 'base')
    },
  },
  {
    // https://github.com/moby/buildkit/issues/2614: a directory that replaced a lower file showed lower children.
    name: 'buildkit#2614: a directory that replaces a file shows nothing of an older directory',
    async run(subject) {
      await subject.layerOfTar('first', undefined, [{ name: 'a/' }, { name: 'a/old', content: 'x' }])
      await subject.layerOfTar('second', 'first', [{ name: 'a', content: 'file' }])
      await subject.layerOfTar('third', 'second', [{ name: 'a/' }, { name: 'a/new', content: 'y' }])
      await mustHold(subject, 'third', ['/', '/a', '/a/new'])
      await mustComeBack(subject, 'third', 'second')
    },
  },
  {
    // https://github.com/moby/moby/issues/34672: a mount in a removed layer kept the layer busy.
    name: 'moby#34672: a layer that was opened many times can be removed after the last put',
    async run({ driver }) {
      await driver.create('base')
      await driver.createReadWrite('container', 'base')
      for (let times = 0; times < 5; times++) {
        await Promise.all([1, 2, 3, 4].map(() => driver.get('container')))
        await Promise.all([1, 2, 3, 4].map(() => driver.put('container')))
      }
      await driver.remove('container')
      await driver.remove('base')
      assert.deepEqual(await driver.list(), [])
    },
  },
  {
    // https://github.com/moby/moby/issues/33974: empty layers were left out of a chain.
    name: 'moby#33974: empty layers are part of a chain',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      const empty = tarOf([])
      for (const [id, parent] of [
        ['one', 'base'],
        ['two', 'one'],
      ] as const) {
        await subject.driver.create(id, parent)
        assert.equal(await subject.apply(id, parent, empty), 0)
      }
      await subject.layer('top', 'two', CHANGES)
      same(await subject.tree('two'), await subject.tree('base'), 'the tree through empty layers')
      assert.deepEqual(await subject.changes('top', 'two'), CHANGED)
      await mustComeBack(subject, 'top', 'two')
    },
  },
  {
    // https://github.com/containers/podman/issues/25862: unpacking a layer blocked all other work.
    name: 'podman#25862: other layers can be created and removed while a layer is being applied',
    async run(subject) {
      const { driver } = subject
      await subject.layer('base', undefined, BASE)
      await driver.create('slow', 'base')
      const tar = tarOf([{ name: 'first', content: 'x'.repeat(2000) }, { name: 'last' }])
      async function* slowly(): AsyncGenerator<Uint8Array, void, void> {
        yield tar.subarray(0, 1000)
        await subject.container('other', 'base', CHANGES)
        await subject.mustMatchReference('other')
        await driver.remove('other')
        yield tar.subarray(1000)
      }
      await driver.applyDiff('slow', 'base', slowly())
      assert.deepEqual(await subject.changes('slow', 'base'), ['add /first', 'add /last'])
    },
  },
  {
    // https://github.com/moby/moby/issues/45939: leftovers of a failed unpack could neither be found nor removed.
    name: 'moby#45939: the layer of a failed apply is listed if it exists, and can be removed',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.driver.create('half', 'base')
      const tar = tarOf([{ name: 'a', content: 'x'.repeat(5000) }]).subarray(0, 3000)
      await assert.rejects(subject.apply('half', 'base', tar))
      await subject.reopen()
      if (await subject.driver.exists('half')) {
        assert.deepEqual((await subject.driver.list()).toSorted(), ['base', 'half'])
      }
      await subject.driver.remove('half')
      assert.deepEqual(await subject.driver.list(), ['base'])
      await subject.layer('half', 'base', CHANGES)
      await subject.mustMatchReference('half')
    },
  },
  {
    // https://github.com/google/go-containerregistry/issues/977: flattening lost the content of hard links.
    name: 'go-containerregistry#977: a hard link keeps its content when a higher layer removes its first name',
    async run(subject) {
      await subject.layerOfTar('first', undefined, [
        { name: 'one', content: 'kept' },
        { name: 'two', type: 'link', linkName: 'one' },
      ])
      await subject.layerOfTar('second', 'first', [{ name: '.wh.one' }])
      await mustHold(subject, 'second', ['/', '/two'])
      await subject.driver.create('flat')
      await subject.apply('flat', undefined, await subject.diff('second'))
      same(await subject.tree('flat'), await subject.tree('second'), 'the flattened tree')
    },
  },
  {
    // https://github.com/google/go-containerregistry/issues/2029: objects that were removed and made again were
    // missing.
    name: 'go-containerregistry#2029: an object that one layer removes and a later layer recreates exists',
    async run(subject) {
      await subject.layerOfTar('first', undefined, [{ name: 'a/' }, { name: 'a/file', content: '1' }])
      await subject.layerOfTar('second', 'first', [{ name: '.wh.a' }])
      await subject.layerOfTar('third', 'second', [{ name: 'a/' }, { name: 'a/file', content: '3' }])
      const whole = await subject.tree('third')
      assert.equal(whole.get('/a/file'), 'file 644 0:0 "3"')
      await subject.driver.create('flat')
      await subject.apply('flat', undefined, await subject.diff('third'))
      same(await subject.tree('flat'), whole, 'the flattened tree')
    },
  },
  {
    // https://github.com/containers/fuse-overlayfs/issues/279: a new symlink did not clear the whiteout in its place.
    name: 'fuse-overlayfs#279: a symlink that replaces a removed file is visible',
    async run(subject) {
      await subject.layer('base', undefined, [{ do: 'create', path: '/file', content: 'x' }])
      await subject.container('container', 'base', [
        { do: 'remove', path: '/file' },
        { do: 'symlink', path: '/file', target: 'elsewhere' },
      ])
      await subject.mustMatchReference('container')
      await subject.edit('container', [{ do: 'remove', path: '/file' }])
      assert.deepEqual(await subject.changes('container', 'base'), ['delete /file'])
    },
  },
  {
    // https://github.com/containers/fuse-overlayfs/issues/192: link counts were off by one.
    name: 'fuse-overlayfs#192: the link count of a new file is the number of its names',
    async run(subject) {
      await subject.layer('base', undefined, [{ do: 'mkdir', path: '/dir' }])
      await subject.driver.createReadWrite('container', 'base')
      await subject.inView('container', async (fs) => {
        await fs.writeFile('/dir/one', 'x')
        await fs.link('/dir/one', '/dir/two')
        await fs.link('/dir/one', '/three')
        assert.equal((await fs.lstat('/three')).nlink, 3)
        await fs.unlink('/dir/one')
        assert.equal((await fs.lstat('/three')).nlink, 2)
      })
    },
  },
  {
    // https://github.com/containers/fuse-overlayfs/issues/327: whiteouts were made for objects that no lower layer has.
    name: 'fuse-overlayfs#327: a file that was created and removed leaves no whiteout in the diff',
    async run(subject) {
      await subject.layer('base', undefined, [{ do: 'mkdir', path: '/dir' }])
      await subject.container('container', 'base', [
        { do: 'create', path: '/dir/short', content: 'x' },
        { do: 'remove', path: '/dir/short' },
        { do: 'mkdir', path: '/gone' },
        { do: 'remove', path: '/gone' },
      ])
      const tar = (await subject.diff('container', 'base')).toString('latin1')
      assert.equal(tar.includes('.wh.'), false, 'the diff contains a whiteout')
    },
  },
  {
    // https://github.com/moby/moby/pull/26434 and others: some layers contain a name twice.
    name: 'moby#26434: a layer may name a path twice, and the last entry wins',
    async run(subject) {
      await subject.layerOfTar('base', undefined, [
        { name: 'twice', content: 'first' },
        { name: 'dir/' },
        { name: 'twice', content: 'last' },
        { name: 'dir/', mode: 0o700 },
      ])
      const tree = await subject.tree('base')
      assert.equal(tree.get('/twice'), 'file 644 0:0 "last"')
      assert.equal(tree.get('/dir'), 'directory 700 0:0')
    },
  },
  {
    // Debian's PAM.7.gz and pam.7.gz collide on case-insensitive file systems. The two names must stay distinct.
    name: 'names that differ only in case are distinct',
    async run(subject) {
      await subject.layerOfTar('base', undefined, [
        { name: 'PAM.7.gz', content: 'upper' },
        { name: 'pam.7.gz', content: 'lower' },
      ])
      const tree = await subject.tree('base')
      assert.equal(tree.get('/PAM.7.gz'), 'file 644 0:0 "upper"')
      assert.equal(tree.get('/pam.7.gz'), 'file 644 0:0 "lower"')
    },
  },
  {
    // tar-stream and others read PAX values as UTF-8, and change those that are not UTF-8.
    name: 'a diff preserves xattrs of any bytes',
    async run(subject) {
      const value = String.fromCharCode(...Array.from({ length: 256 }, (_, byte) => byte))
      await subject.layer('base', undefined, [
        { do: 'create', path: '/file', content: '' },
        { do: 'setxattr', path: '/file', name: 'user.every', value },
      ])
      await mustComeBack(subject, 'base', undefined)
    },
  },
]

async function mustHold(subject: Subject, id: string, paths: readonly string[]): Promise<void> {
  assert.deepEqual([...(await subject.tree(id)).keys()], paths)
}
