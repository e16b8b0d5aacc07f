/** @module-tag judge */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect, it } from 'vitest'
import { openStore } from '#layerstack/index.js'
import { startDockerd } from '../support/dockerd.js'
import { noDaemon, notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { btrfsFixture, noBtrfs } from './btrfs-fixture.js'

const reason = noBtrfs ?? noDaemon ?? notInstalled('dockerd', 'docker', 'tar')

it(
  'btrfs commits on an image of dockerd in its data root, and dockerd lists and exports the result',
  unless(reason),
  async () => {
    await using fixture = await btrfsFixture()
    const [root, files] = [join(fixture.path, 'root'), join(fixture.path, 'files')]
    mkdirSync(root)
    mkdirSync(join(files, 'etc'), { recursive: true })
    await run('sh', ['-c', 'echo base > etc/base'], { cwd: files })
    const tar = await run('tar', ['-C', files, '-c', 'etc'])
    const exported = join(fixture.path, 'export.tar')
    {
      await using docker = await startDockerd({ root, driver: 'btrfs' })
      await docker.fromBytes(tar, 'import', '-', 'theirs:1')
    }
    {
      await using store = await openStore({ root })
      expect(store.driver.name).toBe('btrfs')
      await using container = await store.createContainer('theirs:1')
      expect(await container.fs.readFile('/etc/base', 'utf8')).toBe('base\n')
      await container.fs.writeFile('/marker', 'ours')
      await container.commit({ reference: 'ours:1', consume: true })
    }
    await using docker = await startDockerd({ root, driver: 'btrfs' })
    expect(await docker.imageIds()).toHaveLength(2)
    await docker.exportImage('ours:1', exported)
    const names = (await run('tar', ['-tf', exported])).toString().split('\n')
    expect(names).toEqual(expect.arrayContaining(['etc/base', 'marker']))
  },
)

it(
  'btrfs makes a root that dockerd lists, exports and changes, and that is clean afterwards',
  unless(reason),
  async () => {
    await using fixture = await btrfsFixture()
    const [root, exported] = [join(fixture.path, 'root'), join(fixture.path, 'export.tar')]
    mkdirSync(root)
    {
      await using store = await openStore({ root, driver: 'btrfs', engine: 'kernel' })
      const tar = await run('tar', ['-c', '-C', import.meta.dirname, 'openers.ts'])
      const image = await store.import(Readable.from([tar]), { reference: 'ours:1' })
      await using container = await store.createContainer(image.id)
      await container.fs.writeFile('/marker', 'ours')
      await container.commit({ reference: 'ours:2' })
    }
    {
      await using docker = await startDockerd({ root, driver: 'btrfs' })
      expect(await docker.imageIds()).toHaveLength(2)
      await docker.exportImage('ours:2', exported)
      const names = (await run('tar', ['-tf', exported])).toString().split('\n')
      expect(names).toEqual(expect.arrayContaining(['openers.ts', 'marker']))
      await docker.fromBytes(await run('tar', ['-c', '--files-from=/dev/null']), 'import', '-', 'theirs:1')
      await docker.text('rmi', 'ours:1', 'ours:2')
    }
    await using store = await openStore({ root })
    expect((await store.images()).flatMap(({ references }) => references)).toEqual(['theirs:1'])
    expect(await store.check()).toMatchObject({ clean: true, problems: [] })
  },
)
