/** @module-tag device-mapper */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect, it } from 'vitest'
import { openStore } from '#layerstack/index.js'
import { startDockerd, type Dockerd } from '../support/dockerd.js'
import { noDaemon, notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { noThinPools, thinFixture } from './thin-fixture.js'
import { driverOf } from '../support/store-parts.js'

const reason = noThinPools ?? noDaemon ?? notInstalled('dockerd', 'docker', 'tar')
/** Without udev, dockerd starts only with this option. */
const storageOptions = ['dm.override_udev_sync_check=true']

it.each(['xfs', 'ext4'] as const)(
  'devicemapper on %s commits on an image of dockerd in its data root, and dockerd lists and exports the result',
  { ...unless(reason), timeout: 300_000 },
  async (type) => {
    await using fixture = thinFixture()
    const { root, base } = fixture
    const files = join(base, 'files')
    mkdirSync(join(files, 'etc'), { recursive: true })
    await run('sh', ['-c', 'echo base > etc/base'], { cwd: files })
    const tar = await run('tar', ['-C', files, '-c', 'etc'])
    const exported = join(base, 'export.tar')
    const docker = (): Promise<Dockerd> =>
      startDockerd({
        root,
        driver: 'devicemapper',
        storageOptions: [...storageOptions, `dm.fs=${type}`],
      })
    {
      await using theirs = await docker()
      await theirs.fromBytes(tar, 'import', '-', 'theirs:1')
    }
    {
      await using store = await openStore({ root })
      expect(store.driver.name).toBe('devicemapper')
      await using container = await store.createContainer('theirs:1')
      expect(await container.fs.readFile('/etc/base', 'utf8')).toBe('base\n')
      await container.fs.writeFile('/marker', 'ours')
      await container.commit({ reference: 'ours:1', consume: true })
      expect(await store.check()).toMatchObject({ clean: true, problems: [] })
    }
    await using again = await docker()
    expect(await again.imageIds()).toHaveLength(2)
    await again.exportImage('ours:1', exported)
    const names = (await run('tar', ['-tf', exported])).toString().split('\n')
    expect(names).toEqual(expect.arrayContaining(['etc/base', 'marker']))
    await again.stop()
  },
)

it(
  'devicemapper makes a root that dockerd accepts, and reports the same status rows',
  { ...unless(reason), timeout: 300_000 },
  async () => {
    await using fixture = thinFixture()
    const { root } = fixture
    const ours = await openStore({ root, driver: 'devicemapper', driverOptions: { 'dm.basesize': '1G' } })
    const tar = await run('tar', ['-c', '--files-from=/dev/null'])
    await ours.import(Readable.from([tar]), { reference: 'ours:1' })
    const rows = await driverOf(ours).status()
    await ours.close()
    await using docker = await startDockerd({ root, driver: 'devicemapper', storageOptions })
    expect(await docker.imageIds()).toHaveLength(1)
    const info = JSON.parse(await docker.text('info', '--format', '{{json .DriverStatus}}')) as [
      string,
      string,
    ][]
    const keys = (pairs: readonly (readonly [string, string])[]): string[] => pairs.map(([key]) => key)
    expect(keys(rows).slice(0, -1)).toEqual(keys(info).filter((key) => key !== 'Library Version'))
    const changing = /Space (Used|Available)|Udev/
    const still = (pairs: readonly (readonly [string, string])[]): unknown[] =>
      pairs.filter(([key]) => !changing.test(key) && !/Version|(Data|Metadata) file/.test(key))
    expect(still(rows)).toEqual(still(info))
    await docker.stop()
  },
)
