import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ConformanceCase } from '../case.js'
import { BASE, CHANGES } from './samples.js'

/** Counting of `get` and `put`. */
export const views: readonly ConformanceCase[] = [
  {
    name: 'keeps a view open until every get has its put',
    async run(subject) {
      const { driver } = subject
      await subject.layer('base', undefined, BASE)
      await driver.createReadWrite('container', 'base')
      const [first, , third] = await Promise.all([1, 2, 3].map(() => driver.get('container')))
      await driver.put('container')
      await driver.put('container')
      await third?.fs.writeFile('/still', 'here')
      assert.equal(await first?.fs.readFile('/still', 'utf8'), 'here')
      await driver.put('container')
    },
  },
  {
    name: 'refuses to remove a layer while a view of it is open, and removes it after the last put',
    async run(subject) {
      const { driver } = subject
      await subject.layer('base', undefined, BASE)
      await driver.createReadWrite('container', 'base')
      await driver.get('container')
      const { fs } = await driver.get('container')
      await assert.rejects(driver.remove('container'), { code: 'LAYER_IN_USE' })
      await driver.put('container')
      await assert.rejects(driver.remove('container'), { code: 'LAYER_IN_USE' })
      assert.equal(await fs.exists('/etc/passwd'), true)
      await driver.put('container')
      await driver.remove('container')
      assert.equal(await driver.exists('container'), false)
    },
  },
  {
    name: 'ignores a put without a get, and counts correctly afterwards',
    async run(subject) {
      const { driver } = subject
      await subject.layer('base', undefined, BASE)
      await driver.get('base')
      for (let puts = 0; puts < 3; puts++) await driver.put('base')
      const { fs } = await driver.get('base')
      assert.equal(await fs.readFile('/etc/passwd', 'utf8'), 'root:x:0:0\n')
      await assert.rejects(driver.remove('base'), { code: 'LAYER_IN_USE' })
      await driver.put('base')
    },
  },
  {
    name: 'opens and closes one view many times concurrently',
    async run(subject) {
      const { driver } = subject
      await subject.layer('base', undefined, BASE)
      await driver.createReadWrite('container', 'base')
      const use = async (index: number): Promise<void> => {
        const { fs } = await driver.get('container')
        await fs.writeFile(`/file${index}`, String(index))
        await driver.put('container')
      }
      await Promise.all(Array.from({ length: 30 }, (_, index) => use(index)))
      const tree = await subject.tree('container')
      for (let index = 0; index < 30; index++) assert.ok(tree.has(`/file${index}`), `file${index}`)
      await driver.remove('container')
    },
  },
  {
    name: 'keeps written data after the last put',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.container('container', 'base')
      for (const edit of CHANGES) await subject.edit('container', [edit])
      await subject.mustMatchReference('container')
    },
  },
  {
    name: 'refuses to remove a layer that another driver on the same root has open',
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.driver.createReadWrite('container', 'base')
      const other = await subject.another()
      const { fs } = await subject.driver.get('container')
      await assert.rejects(other.remove('container'), { code: 'LAYER_IN_USE' })
      assert.equal(await fs.exists('/etc/passwd'), true)
      await subject.driver.put('container')
      await other.remove('container')
      assert.equal(await subject.driver.exists('container'), false)
    },
  },
  {
    name: 'closes all views on cleanup, and allows a second cleanup',
    async run(subject) {
      const { driver } = subject
      await subject.layer('base', undefined, BASE)
      await driver.createReadWrite('container', 'base')
      await driver.get('container')
      await driver.get('container')
      await driver.get('base')
      await driver.cleanup()
      await driver.cleanup()
      await driver.remove('container')
      assert.deepEqual(await driver.list(), ['base'])
    },
  },
  {
    name: 'keeps data written to a volatile layer after the last put',
    async run(subject) {
      const { driver } = subject
      await subject.layer('base', undefined, BASE)
      await driver.createReadWrite('container', 'base', { volatile: true })
      const { fs } = await driver.get('container', { volatile: true })
      await fs.writeFile('/etc/motd', 'gone tomorrow\n')
      await driver.put('container')
      await subject.inView('container', async (again) => {
        assert.equal(await again.readFile('/etc/motd', 'utf8'), 'gone tomorrow\n')
      })
      assert.ok((await subject.changes('container', 'base')).includes('add /etc/motd'))
      await driver.remove('container')
      assert.deepEqual(await driver.list(), ['base'])
    },
  },
  {
    name: 'shows the same content at the host path of a view',
    unless: ({ capabilities }) => (capabilities.hostPath ? undefined : 'views have no host path'),
    async run(subject) {
      await subject.layer('base', undefined, BASE)
      await subject.container('container', 'base', CHANGES)
      await subject.inView('container', async (fs, { hostPath = '' }) => {
        assert.equal(readFileSync(join(hostPath, 'etc/motd'), 'utf8'), 'hello\n')
        assert.equal(existsSync(join(hostPath, 'usr/lib/b')), false)
        await fs.writeFile('/etc/late', 'seen')
        assert.equal(readFileSync(join(hostPath, 'etc/late'), 'utf8'), 'seen')
      })
    },
  },
  {
    name: 'has no host path if its capabilities say so',
    unless: ({ capabilities }) => (capabilities.hostPath ? 'views have a host path' : undefined),
    async run(subject) {
      await subject.layer('base', undefined)
      await subject.inView('base', async (_fs, view) => assert.equal(view.hostPath, undefined))
    },
  },
  {
    name: 'resolves symlinks inside the layer, including absolute targets and targets with ..',
    async run(subject) {
      await subject.layer('base', undefined, [
        { do: 'mkdir', path: '/inside' },
        { do: 'create', path: '/inside/file', content: 'ours' },
        { do: 'symlink', path: '/absolute', target: '/inside' },
        { do: 'symlink', path: '/climbing', target: '../../../../../../../../inside' },
      ])
      await subject.driver.createReadWrite('container', 'base')
      await subject.inView('container', async (fs) => {
        assert.equal(await fs.readFile('/absolute/file', 'utf8'), 'ours')
        assert.equal(await fs.readFile('/climbing/file', 'utf8'), 'ours')
        await fs.writeFile('/absolute/new', 'through')
        await fs.writeFile('/climbing/file', 'changed')
        assert.equal(await fs.readFile('/inside/new', 'utf8'), 'through')
        assert.equal(await fs.readFile('/inside/file', 'utf8'), 'changed')
      })
      await subject.mustMatchReference('base')
    },
  },
]
