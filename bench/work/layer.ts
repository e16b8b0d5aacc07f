import { lstatSync, readdirSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Container } from 'layerstack'
import { filledDriver, filledStore } from '../filled-root.js'
import { GIB, manyFiles, oneFile, tarOf, writeTar, writeTree, type InputTree } from '../inputs.js'
import { dockerPeer } from '../peers/docker.js'
import { podmanPeer } from '../peers/podman.js'
import { shell, syncDisk } from '../peers/program.js'
import { task, type DriverSide, type Place, type Task, type Workload } from '../workload.js'
import { bareCalls } from './bare-calls.js'

/** What was done in a container: files that were added, over what there was. */
export interface Edit {
  readonly name: string
  readonly below: InputTree
  readonly files: InputTree
  readonly heavy?: boolean
}

const SMALL = 1000

export const edits: Readonly<Record<'few' | 'many' | 'huge' | 'fewInMany', Edit>> = {
  few: { name: '10 files', below: manyFiles(100, SMALL, 'below'), files: manyFiles(10, SMALL) },
  many: { name: '10,000 files', below: manyFiles(100, SMALL, 'below'), files: manyFiles(10_000, SMALL) },
  huge: {
    name: 'a file of 1 GiB',
    below: manyFiles(100, SMALL, 'below'),
    files: oneFile('huge', GIB),
    heavy: true,
  },
  fewInMany: {
    name: '10 in 100,000 files',
    below: manyFiles(100_000, 100, 'below'),
    files: manyFiles(10, SMALL, 'below/0500/new'),
    heavy: true,
  },
}

export function diff(edit: Edit): Workload {
  return {
    ...common('diff', edit),
    about: `the tar of ${edit.name} that a container added`,
    driver: (side) => onWritable(side, edit, ({ driver, top, id }) => drain(driver.diff(id, top)), 'diff'),
    floors: { 'tar -c': (place) => ofDirectory(place, edit, 'diff', 'tar -cC "$1" . | cat > /dev/null') },
  }
}

export function changes(edit: Edit): Workload {
  return {
    ...common('changes', edit),
    about: `the list of what changed: ${edit.name} were added`,
    driver: (side) =>
      onWritable(side, edit, ({ driver, top, id }) => drain(driver.changes(id, top)), 'changes'),
    floors: {
      'readdir + lstat': async ({ directory }) => {
        await writeTree(directory, edit.files)
        return task((clock) => clock.phase('changes', () => walk(directory)))
      },
    },
    peers: {
      docker: async (place) => {
        const { docker, container } = await dockerContainer(place, edit)
        return docker.task((clock) =>
          clock.phase('changes', async () => void (await docker.changes(container))),
        )
      },
    },
  }
}

/** A commit of a container, which stays, or is consumed. */
export function commit(edit: Edit, consume: boolean): Workload {
  return {
    ...common('commit', edit),
    name: `commit/${edit.name}${consume ? ', consumed' : ''}`,
    about: `an image of a container that added ${edit.name}${consume ? '; the container is given up' : '; the container stays'}`,
    driver: (side) => commitHere(side, edit, consume),
    floors: {
      'tar + sha256sum': (place) => ofDirectory(place, edit, 'commit', TAR),
      ...(consume ? consumeFloors(edit) : copyFloors(edit)),
    },
    peers: {
      docker: async (place) => {
        const { docker, container } = await dockerContainer(place, edit)
        return docker.task(async (clock) => {
          const image = await clock.phase('commit', () => docker.commit(container))
          await clock.aside('sync', () => syncDisk(docker.root))
          await docker.removeImage(image)
        })
      },
      podman: async (place) => {
        const podman = podmanPeer(place)
        const base = await podman.import(tarOf(edit.below))
        const container = await podman.create(base)
        await writeTree(await podman.run('mount', container), edit.files)
        return task(async (clock) => {
          const image = await clock.phase('commit', () => podman.run('commit', '--quiet', container))
          await clock.aside('sync', () => syncDisk(podman.root))
          await podman.run('rmi', image)
        })
      },
    },
  }
}

const CALLS = 'the calls alone, from Node'
const TAR = 'tar -cC "$1" . | sha256sum'
const COPY = 'mkdir "$1.copy"; tar -cC "$1" . | tee >(sha256sum) | tar -xC "$1.copy"'

/** What the container wrote becomes a layer, so it has to be on disk. */
function consumeFloors(edit: Edit): Workload['floors'] {
  return {
    'sync + tar + sha256sum': (place) =>
      ofDirectory(place, edit, 'commit', `sync -f "$1"; ${TAR}`, { fresh: true }),
    [`sync + ${CALLS}`]: (place) =>
      ofDirectory(
        place,
        edit,
        'commit',
        async (tree) => {
          await syncDisk(tree)
          bareCalls(tree)
        },
        { fresh: true },
      ),
  }
}

function copyFloors(edit: Edit): Workload['floors'] {
  const undo = 'rm -r "$1.copy"'
  return {
    'tar + sha256sum + tar -x': (place) => ofDirectory(place, edit, 'commit', COPY, { undo, unsynced: true }),
    'tar + sha256sum + tar -x + sync': (place) =>
      ofDirectory(place, edit, 'commit', `${COPY}; sync -f "$1"`, { undo }),
    [`${CALLS} + sync`]: (place) =>
      ofDirectory(
        place,
        edit,
        'commit',
        async (tree) => {
          bareCalls(tree, `${tree}.copy`)
          await syncDisk(tree)
        },
        { undo },
      ),
  }
}

function common(group: string, { name, heavy, files, below }: Edit) {
  return { name: `${group}/${name}`, heavy: heavy ?? false, space: 2 * (files.space + below.space) }
}

interface Worked {
  readonly driver: Awaited<ReturnType<DriverSide['openDriver']>>
  readonly top: string | undefined
  readonly id: string
}

async function onWritable(
  side: DriverSide,
  { below, files }: Edit,
  work: (worked: Worked) => Promise<void>,
  phase: string,
): Promise<Task> {
  const { driver, top } = await filledDriver(side, await tarFile(side, below))
  const id = 'container'
  await driver.createReadWrite(id, top)
  await writeTree((await driver.get(id)).fs, files)
  return task(
    (clock) => clock.phase(phase, () => work({ driver, top, id })),
    async () => {
      await driver.put(id)
      await driver.cleanup()
    },
  )
}

async function commitHere(side: DriverSide, { below, files }: Edit, consume: boolean): Promise<Task> {
  const { store, image } = await filledStore(side, 'import', await tarFile(side, below))
  let kept: Container | undefined
  let turn = 0
  const prepared = async (): Promise<Container> => {
    if (kept !== undefined) return kept
    const container = await store.createContainer(image.id)
    await writeTree(container.fs, files)
    if (!consume) kept = container
    return container
  }
  return task(
    async (clock) => {
      const container = await prepared()
      // Otherwise the layer would be there already.
      await container.fs.writeFile('/turn', String(turn++))
      const made = await clock.growth(side.directory, () =>
        clock.phase('commit', () => container.commit({ consume })),
      )
      await store.remove(made.id)
    },
    () => store.close(),
  )
}

function tarFile({ directory }: Place, files: InputTree): Promise<string> {
  return writeTar(join(directory, 'below.tar'), tarOf(files))
}

interface OfDirectory {
  /** Takes away what the line made. */
  readonly undo?: string
  /** It makes what is not on disk then: how long a sync takes is told beside. */
  readonly unsynced?: boolean
  /** The files are written anew each time, and are not on disk yet. */
  readonly fresh?: boolean
}

/** Something done to a directory of files, or a line of shell on it, as `$1`. */
async function ofDirectory(
  { directory }: Place,
  { files }: Edit,
  phase: string,
  work: string | ((tree: string) => Promise<void>),
  { undo, unsynced = false, fresh = false }: OfDirectory = {},
): Promise<Task> {
  const tree = join(directory, 'tree')
  const make = async (): Promise<void> => {
    await mkdir(tree)
    await writeTree(tree, files)
  }
  await make()
  return task(async (clock) => {
    await clock.phase(phase, () => (typeof work === 'string' ? shell(work, tree) : work(tree)))
    if (unsynced) await clock.aside('sync', () => syncDisk(directory))
    if (undo !== undefined) await shell(undo, tree)
    if (!fresh) return
    await shell('rm -r "$1"', tree)
    await make()
  })
}

async function dockerContainer(place: Place, { below, files }: Edit) {
  const docker = await dockerPeer(place)
  await docker.import(tarOf(below), 'bench/below')
  const container = await docker.create('bench/below')
  await docker.put(container, tarOf(files))
  return { docker, container }
}

async function drain(stream: Readable | AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

function walk(directory: string): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name)
    if (lstatSync(path).isDirectory()) walk(path)
  }
}
