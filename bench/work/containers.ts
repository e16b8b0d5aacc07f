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
import { task, type Workspace, type Task, type Workload } from '../workload.js'

const layersText = (depth: number): string => (depth === 1 ? '1 layer' : `${depth} layers`)

/** Measures the driver alone: creates, opens, closes and removes a writable layer. */
export function driverLife(depth: number): Workload {
  const TIMES = 20
  return {
    name: `container/driver on ${layersText(depth)}`,
    about: `createReadWrite, get, put and remove of the driver on ${layersText(depth)}, ${TIMES} times`,
    heavy: depth > 100,
    depth: depth + 1,
    unsynced: true,
    point: { series: 'container/driver', at: depth },
    driver: async (workspace) => {
      const volatile = workspace.contender.volatile === true
      const driver = await workspace.openDriver()
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
      'mkdir + mount + umount + rmdir': (workspace) => bareMounts(workspace, depth, TIMES),
      "the same, with Docker's files, synced": (workspace) => bareMounts(workspace, depth, TIMES, true),
    },
    peers: {
      'docker overlay2': (workspace) => graphDriverPeer(workspace, 'overlay2', depth, TIMES),
      'docker btrfs': (workspace) => graphDriverPeer(workspace, 'btrfs', depth, TIMES),
      'docker vfs': (workspace) => graphDriverPeer(workspace, 'vfs', depth, TIMES),
      'docker devicemapper': (workspace) => graphDriverPeer(workspace, 'devicemapper', depth, TIMES),
    },
    peersOn: { 'docker btrfs': 'btrfs' },
  }
}

/**
 * Mounts overlayfs with bare system calls.
 * @param durable also writes the files that Docker keeps, and syncs them before the rename that publishes the layer.
 *   The syncs block the calling thread.
 */
async function bareMounts(
  { directory }: Workspace,
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

/** Removes the directories; `work/work` was made by the kernel. */
function removeMounted(at: string, upper: string, work: string): void {
  rmdirSync(upper)
  rmdirSync(join(work, 'work'))
  rmdirSync(work)
  rmdirSync(at)
}

/** Measures the driver alone: creates and removes a snapshot of a layer with `count` files. */
export function snapshot(count: number): Workload {
  const TIMES = 20
  return {
    name: `container/snapshot of ${count.toLocaleString('en')} files`,
    about: `createReadWrite and remove of the driver on a layer of ${count.toLocaleString('en')} files, up to ${TIMES} times`,
    heavy: count > 10_000,
    space: count * 6 * KIB,
    point: { series: 'container/snapshot', at: count },
    driver: async (workspace) => {
      const tar = await writeTar(join(workspace.directory, 'layer.tar'), tarOf(manyFiles(count, 100)))
      const { driver, top } = await filledDriver(workspace, tar)
      // A driver that copies the layer takes as long for one as others take for twenty.
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

/** Measures the store: creates, mounts, unmounts and removes containers. */
export function storeLife(count: number): Workload {
  return {
    name: `container/store ${count === 1 ? 'one at a time' : `${count.toLocaleString('en')} at once`}`,
    about:
      count === 1
        ? 'createContainer (including its mount), unmount and remove, on 2 layers'
        : `create and mount ${count.toLocaleString('en')} containers, then unmount all, then remove all; per container`,
    heavy: count > 100,
    long: count > 100,
    driver: async (workspace) => {
      const store = await workspace.openStore()
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
    floors: {
      'mkdir + mount + umount + rmdir': (workspace) => bareMounts(workspace, 2, Math.min(count, 100)),
    },
    ...(count === 1 && {
      peers: {
        docker: async (workspace: Workspace) => {
          const docker = await dockerPeer(workspace)
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

/** Measures a program that starts, creates and removes a container, and exits. */
export const coldStart: Workload = {
  name: 'container/new process',
  about: 'start a process that opens the store, creates, mounts and removes a container, and exits',
  heavy: false,
  driver: async (workspace) => {
    await using store = await workspace.openStore()
    const image = await importTwoLayers(store)
    const { driver, engine, modules } = workspace.contender
    const args = [join(import.meta.dirname, 'cold-start.js'), store.root, driver, engine, image, ...modules]
    return program(process.execPath, args)
  },
  floors: { 'node, nothing else': async () => program(process.execPath, ['--eval', '0']) },
  peers: {
    docker: async (workspace) => {
      const docker = await dockerPeer(workspace)
      await docker.import(smallTar(), 'bench/small')
      return docker.task(async (clock) => {
        await clock.phase('run', async () => {
          const id = await docker.text('create', '--network=none', 'bench/small', '/never-run')
          await docker.cli('rm', id)
        })
      })
    },
    ctr: async (workspace) => {
      const containerd = await containerdPeer(workspace)
      await containerd.ctr('snapshots', 'prepare', 'making')
      await containerd.ctr('snapshots', 'commit', 'base', 'making')
      return containerd.task(async (clock) => {
        await clock.phase('run', async () => {
          await containerd.ctr('snapshots', 'prepare', 'one', 'base')
          await containerd.ctr('snapshots', 'rm', 'one')
        })
      })
    },
    podman: async (workspace) => {
      const podman = podmanPeer(workspace)
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
