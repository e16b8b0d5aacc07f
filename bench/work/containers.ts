import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { mountOverlay } from '#layerstack/sys/mount-overlay.js'
import { unmountIfMounted } from '#layerstack/sys/mount.js'
import type { Readable } from 'node:stream'
import type { Container, Store } from 'layerstack'
import { filledDriver } from '../filled-root.js'
import { KIB, manyFiles, tarOf, writeTar } from '../inputs.js'
import { dockerPeer } from '../peers/docker.js'
import { graphDriverPeer } from '../peers/graphdriver.js'
import { containerdPeer } from '../peers/containerd.js'
import { podmanPeer } from '../peers/podman.js'
import { task, type Place, type Task, type Workload } from '../workload.js'

const layersText = (depth: number): string => (depth === 1 ? '1 layer' : `${depth} layers`)

/** The driver alone: a writable layer is made, opened, closed and removed. */
export function driverLife(depth: number): Workload {
  const TIMES = 20
  return {
    name: `container/driver on ${layersText(depth)}`,
    about: `createReadWrite, get, put and remove of the driver on ${layersText(depth)}, ${TIMES} in turn`,
    heavy: depth > 100,
    depth: depth + 1,
    unsynced: true,
    point: { series: 'container/driver', at: depth },
    driver: async (side) => {
      const volatile = side.contender.volatile === true
      const driver = await side.openDriver()
      let top: string | undefined
      for (let index = 0; index < depth; index++) {
        await driver.create(`layer${index}`, top)
        top = `layer${index}`
      }
      return {
        async run(clock) {
          for (let time = 0; time < TIMES; time++) {
            const id = `container${time}`
            await clock.phase('create', () => driver.createReadWrite(id, top, { volatile }), TIMES)
            await clock.phase('get', () => driver.get(id, { volatile }), TIMES)
            await clock.phase('put', () => driver.put(id), TIMES)
            await clock.phase('remove', () => driver.remove(id), TIMES)
          }
        },
        [Symbol.asyncDispose]: () => driver.cleanup(),
      }
    },
    floors: {
      'mkdir + mount + umount + rmdir': (place) => bareMounts(place, depth, TIMES),
      "the same, with Docker's files, synced": (place) => bareMounts(place, depth, TIMES, true),
    },
    peers: {
      'docker overlay2': (place) => graphDriverPeer(place, 'overlay2', depth, TIMES),
      'docker btrfs': (place) => graphDriverPeer(place, 'btrfs', depth, TIMES),
      'docker vfs': (place) => graphDriverPeer(place, 'vfs', depth, TIMES),
      'docker devicemapper': (place) => graphDriverPeer(place, 'devicemapper', depth, TIMES),
    },
    peersOn: { 'docker btrfs': 'btrfs' },
  }
}

/**
 * What overlayfs takes, by system calls alone; `durable`, with the files that Docker keeps beside it, each on disk before
 * the name that says so. The calls wait for the disk where they are made.
 */
async function bareMounts(
  { directory }: Place,
  depth: number,
  times: number,
  durable = false,
): Promise<Task> {
  const lowers = Array.from({ length: depth }, (_, index) => join(directory, String(index)))
  for (const lower of lowers) await mkdir(lower, { recursive: true })
  const links = join(directory, 'l')
  await mkdir(links)
  return {
    async run(clock) {
      for (let time = 0; time < times; time++) {
        const at = join(directory, `c${time}`)
        const [upper, work, merged] = [join(at, 'diff'), join(at, 'work'), join(at, 'merged')]
        await clock.phase(
          'create',
          () => {
            for (const path of [at, upper, work]) mkdirSync(path)
            if (durable) writeDockersFiles(at, links, depth)
          },
          times,
        )
        await clock.phase(
          'get',
          () => {
            mkdirSync(merged)
            mountOverlay(merged, { lowers, upper, work })
          },
          times,
        )
        await clock.phase(
          'put',
          () => {
            unmountIfMounted(merged)
            rmdirSync(merged)
          },
          times,
        )
        await clock.phase(
          'remove',
          () => {
            if (durable) removeDockersFiles(at, links)
            removeMounted(at, upper, work)
          },
          times,
        )
      }
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
}

const LINK = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'

function writeDockersFiles(at: string, links: string, depth: number): void {
  symlinkSync(join('..', basename(at), 'diff'), join(links, LINK))
  writeFileSync(join(at, '.link'), LINK)
  writeFileSync(join(at, 'lower'), Array.from({ length: depth }, () => `l/${LINK}`).join(':'))
  for (const name of ['.link', 'lower']) sync(join(at, name))
  renameSync(join(at, '.link'), join(at, 'link'))
  for (const path of [at, links, dirname(at)]) sync(path)
}

function removeDockersFiles(at: string, links: string): void {
  for (const path of [join(links, LINK), join(at, 'lower'), join(at, 'link')]) unlinkSync(path)
}

function sync(path: string): void {
  const fd = openSync(path, 'r')
  fsyncSync(fd)
  closeSync(fd)
}

/** The kernel makes `work/work`. */
function removeMounted(at: string, upper: string, work: string): void {
  rmdirSync(upper)
  rmdirSync(join(work, 'work'))
  rmdirSync(work)
  rmdirSync(at)
}

/** The driver alone: what a snapshot of a layer costs, however many files it has. */
export function snapshot(count: number): Workload {
  const TIMES = 20
  return {
    name: `container/snapshot of ${count.toLocaleString('en')} files`,
    about: `createReadWrite and remove of the driver on a layer of ${count.toLocaleString('en')} files, ${TIMES} in turn`,
    heavy: count > 10_000,
    space: count * 6 * KIB,
    point: { series: 'container/snapshot', at: count },
    driver: async (side) => {
      const tar = await writeTar(join(side.directory, 'layer.tar'), tarOf(manyFiles(count, 100)))
      const { driver, top } = await filledDriver(side, tar)
      // A driver that copies takes as long for one as another one for twenty.
      const { cheapSnapshots } = driver.capabilities
      const times = cheapSnapshots ? TIMES : 1
      return task(
        async (clock) => {
          for (let time = 0; time < times; time++) {
            const id = `container${time}`
            await clock.phase('create', () => driver.createReadWrite(id, top), times)
            await clock.phase('remove', () => driver.remove(id), times)
          }
        },
        () => driver.cleanup(),
      )
    },
  }
}

/** The store: a container is made known, mounted, unmounted and removed. */
export function storeLife(count: number): Workload {
  return {
    name: `container/store ${count === 1 ? 'one at a time' : `${count.toLocaleString('en')} at once`}`,
    about:
      count === 1
        ? 'createContainer (with its mount), unmount and remove, on 2 layers'
        : `${count} containers are made and mounted, then all unmounted, then all removed; per container`,
    heavy: count > 100,
    long: count > 100,
    driver: async (side) => {
      const store = await side.openStore()
      const image = await importTwoLayers(store)
      return {
        async run(clock) {
          const made: Container[] = []
          await clock.phase(
            'create',
            async () => {
              for (let index = 0; index < count; index++) made.push(await store.createContainer(image))
            },
            count,
          )
          await clock.phase(
            'unmount',
            async () => {
              for (const container of made) await container.unmount()
            },
            count,
          )
          await clock.phase(
            'remove',
            async () => {
              for (const container of made) await container.remove()
            },
            count,
          )
        },
        [Symbol.asyncDispose]: () => store.close(),
      }
    },
    floors: { 'mkdir + mount + umount + rmdir': (place) => bareMounts(place, 2, Math.min(count, 100)) },
    ...(count === 1 && {
      peers: {
        docker: async (place: Place) => {
          const docker = await dockerPeer(place)
          await docker.import(smallTar(), 'bench/small')
          return docker.task(async (clock) => {
            const id = await clock.phase('create', () => docker.create('bench/small'))
            await clock.phase('remove', () => docker.removeContainer(id))
          })
        },
      },
    }),
  }
}

/** A program that starts, makes a container, and ends. */
export const coldStart: Workload = {
  name: 'container/new process',
  about: 'a process starts, opens the store, makes and mounts a container, removes it, and ends',
  heavy: false,
  driver: async (side) => {
    await using store = await side.openStore()
    const image = await importTwoLayers(store)
    const { driver, engine, modules } = side.contender
    const args = [join(import.meta.dirname, 'cold-start.js'), store.root, driver, engine, image, ...modules]
    return program(process.execPath, args)
  },
  floors: { 'node, nothing else': async () => program(process.execPath, ['--eval', '0']) },
  peers: {
    docker: async (place) => {
      const docker = await dockerPeer(place)
      await docker.import(smallTar(), 'bench/small')
      return docker.task(async (clock) => {
        await clock.phase('run', async () => {
          const id = await docker.text('create', '--network=none', 'bench/small', '/never-run')
          await docker.cli('rm', id)
        })
      })
    },
    ctr: async (place) => {
      const containerd = await containerdPeer(place)
      await containerd.ctr('snapshots', 'prepare', 'making')
      await containerd.ctr('snapshots', 'commit', 'base', 'making')
      return containerd.task(async (clock) => {
        await clock.phase('run', async () => {
          await containerd.ctr('snapshots', 'prepare', 'one', 'base')
          await containerd.ctr('snapshots', 'rm', 'one')
        })
      })
    },
    podman: async (place) => {
      const podman = podmanPeer(place)
      const image = await podman.import(smallTar())
      return task((clock) =>
        clock.phase('run', async () => void (await podman.run('rm', await podman.create(image)))),
      )
    },
  },
}

function program(path: string, args: readonly string[]): Task {
  return task((clock) => clock.phase('run', async () => void (await promisify(execFile)(path, args))))
}

async function importTwoLayers(store: Store): Promise<string> {
  const base = await store.import(smallTar())
  const container = await store.createContainer(base.id)
  await container.fs.writeFile('/second', 'layer')
  const image = await container.commit({ consume: true })
  return image.id
}

function smallTar(): Readable {
  return tarOf([{ path: 'etc/motd', size: 10 }])
}
