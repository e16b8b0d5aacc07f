import assert from 'node:assert/strict'
import type { ConformanceCase } from '../case.js'
import { same } from '../subject.js'
import { chunksOf } from '../tar-of.js'
import { BASE, CHANGES } from './samples.js'

/** Creation, lookup by id and removal of layers. */
export const lifecycle: readonly ConformanceCase[] = [
  {
    name: 'creates an empty layer, and finds it by its id',
    async run(subject) {
      const { driver } = subject
      assert.equal(await driver.exists('base'), false)
      await driver.create('base')
      assert.equal(await driver.exists('base'), true)
      assert.deepEqual(await driver.list(), ['base'])
      assert.deepEqual([...(await subject.tree('base'))], [['/', 'directory 755 0:0']])
    },
  },
  {
    name: 'removes a layer, and ignores a removal of a missing layer',
    async run({ driver }) {
      await driver.create('base')
      await driver.remove('base')
      await driver.remove('base')
      await driver.remove('never')
      assert.equal(await driver.exists('base'), false)
      assert.deepEqual(await driver.list(), [])
      await driver.create('base')
      assert.equal(await driver.exists('base'), true)
    },
  },
  {
    name: 'keeps the parent and the siblings of a removed layer',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.layer('one', 'base', CHANGES)
      await subject.layer('two', 'base', CHANGES)
      await subject.driver.remove('one')
      await subject.mustMatchReference('base')
      await subject.mustMatchReference('two')
    },
  },
  {
    name: 'refuses a second layer with the same id, and keeps the first',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await assert.rejects(subject.driver.create('base'), { code: 'NAME_CONFLICT' })
      await subject.mustMatchReference('base')
    },
  },
  {
    name: 'rejects calls on a missing layer with LAYER_NOT_FOUND, and ignores a put of it',
    async run({ driver }) {
      await assert.rejects(driver.get('nothing'), { code: 'LAYER_NOT_FOUND' })
      await assert.rejects(driver.metadata('nothing'), { code: 'LAYER_NOT_FOUND' })
      await assert.rejects(driver.applyDiff('nothing', undefined, chunksOf(new Uint8Array(1024))), {
        code: 'LAYER_NOT_FOUND',
      })
      await assert.rejects(driver.diffSize('nothing'), { code: 'LAYER_NOT_FOUND' })
      await driver.put('nothing')
    },
  },
  {
    name: 'refuses to create a layer on a missing parent',
    async run({ driver }) {
      await assert.rejects(driver.create('child', 'nothing'), { code: 'LAYER_NOT_FOUND' })
      await assert.rejects(driver.createReadWrite('child', 'nothing'), { code: 'LAYER_NOT_FOUND' })
      assert.equal(await driver.exists('child'), false)
      assert.deepEqual(await driver.list(), [])
    },
  },
  {
    name: 'refuses ids that are not valid names',
    async run({ driver }) {
      for (const id of ['', '..', 'a/b', '.hidden']) await assert.rejects(driver.create(id), TypeError, id)
    },
  },
  {
    name: 'refuses unknown storage options, and creates no layer',
    async run({ driver }) {
      const options = { storageOptions: { flavour: 'mint' } }
      await assert.rejects(driver.createReadWrite('layer', undefined, options), {
        code: 'ENGINE_UNSUPPORTED',
      })
      assert.equal(await driver.exists('layer'), false)
    },
  },
  {
    name: 'finds its layers after it is reopened',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.container('container', 'base', CHANGES)
      await subject.reopen()
      assert.deepEqual((await subject.driver.list()).toSorted(), ['base', 'container'])
      await subject.mustMatchReference('base')
      await subject.mustMatchReference('container')
    },
  },
  {
    name: 'shares its layers with another driver on the same root',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      const other = await subject.another()
      assert.equal(await other.exists('base'), true)
      await other.createReadWrite('container', 'base')
      assert.deepEqual((await subject.driver.list()).toSorted(), ['base', 'container'])
      same(
        await subject.tree('container'),
        await subject.tree('base'),
        'the layer that the other driver created',
      )
    },
  },
  {
    name: 'creates several layers of one parent at once',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      const ids = Array.from({ length: 8 }, (_, index) => `layer${index}`)
      await Promise.all(ids.map((id) => subject.container(id, 'base', CHANGES)))
      for (const id of ids) await subject.mustMatchReference(id)
      await Promise.all(ids.map((id) => subject.driver.remove(id)))
      assert.deepEqual(await subject.driver.list(), ['base'])
    },
  },
  {
    name: 'turns a writable layer into a read-only layer, without a trace of the writable layer',
    unless: ({ adopt }) => (adopt === undefined ? 'the driver cannot adopt a writable layer' : undefined),
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.container('container', 'base', CHANGES)
      const before = await subject.fullTree('container')
      const tar = await subject.diff('container', 'base')
      await subject.inView('container', () =>
        assert.rejects(subject.driver.adopt?.('container', 'layer') ?? Promise.resolve(), {
          code: 'LAYER_IN_USE',
        }),
      )
      await subject.driver.adopt?.('container', 'layer')
      assert.deepEqual((await subject.driver.list()).toSorted(), ['base', 'layer'])
      same(await subject.fullTree('layer'), before, 'the adopted layer')
      assert.ok((await subject.diff('layer', 'base')).equals(tar), 'its diff has changed')
      await subject.driver.create('child', 'layer')
      same(await subject.fullTree('child'), before, 'a child of the adopted layer')
    },
  },
  {
    name: 'refuses to adopt a layer whose host path a program may still use',
    unless: ({ adopt, capabilities }) =>
      adopt === undefined || !capabilities.hostPath ? 'the driver hands out no host path' : undefined,
    async run({ driver }) {
      await driver.createReadWrite('container')
      const view = await driver.get('container')
      assert.equal(typeof view.hostPath, 'string')
      await driver.put('container')
      const adopting = driver.adopt?.('container', 'layer') ?? Promise.resolve()
      if ((await driver.adoptable?.('container')) !== false) return adopting
      await assert.rejects(adopting, { code: 'LAYER_IN_USE' })
      assert.deepEqual(await driver.list(), ['container'])
    },
  },
  {
    name: 'adopts a layer that was read while it was open',
    unless: ({ adopt }) => (adopt === undefined ? 'the driver cannot adopt a writable layer' : undefined),
    async run(subject) {
      const { driver } = subject
      await subject.layer('base', undefined, BASE)
      await subject.container('container', 'base', CHANGES)
      const tar = await subject.inView('container', async () => {
        await assert.rejects(driver.quiesce?.('container') ?? driver.remove('container'), {
          code: 'LAYER_IN_USE',
        })
        return subject.diff('container', 'base')
      })
      await driver.quiesce?.('container')
      await driver.adopt?.('container', 'layer')
      assert.ok((await subject.diff('layer', 'base')).equals(tar), 'its diff has changed')
    },
  },
  {
    name: 'reports rows for docker info, and metadata of each layer',
    async run({ driver }) {
      await driver.create('base')
      for (const row of await driver.status()) {
        assert.deepEqual(
          row.map((cell) => typeof cell),
          ['string', 'string'],
        )
      }
      for (const value of Object.values(await driver.metadata('base'))) assert.equal(typeof value, 'string')
    },
  },
]
