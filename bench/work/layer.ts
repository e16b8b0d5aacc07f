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
import { task, type DriverWorkspace, type Workspace, type Task, type Workload } from '../workload.js'
import { bareCalls } from './bare-calls.js'

/** A change in a container: files added to those of the layer below. */
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
    about: `read the tar of what a container added: ${edit.name}`,
    driver: (workspace) =>
      onWritable(workspace, edit, ({ driver, top, id }) => drain(driver.diff(id, top)), 'diff'),
    floors: {
      'tar -c': (workspace) => ofDirectory(workspace, edit, 'diff', 'tar -cC "$1" . | cat > /dev/null'),
    },
  }
}

export function changes(edit: Edit): Workload {
  return {
    ...common('changes', edit),
    about: `list what changed in a container that added ${edit.name}`,
    driver: (workspace) =>
      onWritable(workspace, edit, ({ driver, top, id }) => drain(driver.changes(id, top)), 'changes'),
    floors: {
      'readdir + lstat': async ({ directory }) => {
        await writeTree(directory, edit.files)
        return task((clock) => clock.phase('changes', () => walk(directory)))
      },
    },
    peers: {
      docker: async (workspace) => {
        const { docker, container } = await dockerContainer(workspace, edit)
        return docker.task((clock) =>
          clock.phase('changes', async () => void (await docker.changes(container))),
        )
      },
    },
  }
}

/** Commits a container, which is kept or consumed. */
export function commit(edit: Edit, consume: boolean): Workload {
  return {
    ...common('commit', edit),
    name: `commit/${edit.name}${consume ? ', consumed' : ''}`,
    about: `commit a container that added ${edit.name}; the container is ${consume ? 'consumed' : 'kept'}`,
    driver: (workspace) => commitHere(workspace, edit, consume),
    floors: {
      'tar + sha256sum': (workspace) => ofDirectory(workspace, edit, 'commit', TAR),
      ...(consume ? consumeFloors(edit) : copyFloors(edit)),
    },
    peers: {
      docker: async (workspace) => {
        const { docker, container } = await dockerContainer(workspace, edit)
        return docker.task(async (clock) => {
          const image = await clock.phase('commit', () => docker.commit(container))
          await clock.aside('sync', () => syncDisk(docker.root))
          await docker.removeImage(image)
        })
      },
      podman: async (workspace) => {
        const podman = podmanPeer(workspace)
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

/** The container's files become the layer, so they must be synced. */
function consumeFloors(edit: Edit): Workload['floors'] {
  return {
    'sync + tar + sha256sum': (workspace) =>
      ofDirectory(workspace, edit, 'commit', `sync -f "$1"; ${TAR}`, { fresh: true }),
    [`sync + ${CALLS}`]: (workspace) =>
      ofDirectory(
        workspace,
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
    'tar + sha256sum + tar -x': (workspace) =>
      ofDirectory(workspace, edit, 'commit', COPY, { undo, unsynced: true }),
    'tar + sha256sum + tar -x + sync': (workspace) =>
      ofDirectory(workspace, edit, 'commit', `${COPY}; sync -f "$1"`, { undo }),
    [`${CALLS} + sync`]: (workspace) =>
      ofDirectory(
        workspace,
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
  readonly driver: Awaited<ReturnType<DriverWorkspace['openDriver']>>
  readonly top: string | undefined
  readonly id: string
}

async function onWritable(
  workspace: DriverWorkspace,
  { below, files }: Edit,
  work: (worked: Worked) => Promise<void>,
  phase: string,
): Promise<Task> {
  const { driver, top } = await filledDriver(workspace, await tarFile(workspace, below))
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

async function commitHere(
  workspace: DriverWorkspace,
  { below, files }: Edit,
  consume: boolean,
): Promise<Task> {
  const { store, image } = await filledStore(workspace, 'import', await tarFile(workspace, below))
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
      // Without a change, the layer would already exist.
      await container.fs.writeFile('/turn', String(turn++))
      const made = await clock.growth(workspace.directory, () =>
        clock.phase('commit', () => container.commit({ consume })),
      )
      await store.remove(made.id)
    },
    () => store.close(),
  )
}

function tarFile({ directory }: Workspace, files: InputTree): Promise<string> {
  return writeTar(join(directory, 'below.tar'), tarOf(files))
}

interface OfDirectory {
  /** A line of shell that removes what `work` created; not measured. */
  readonly undo?: string
  /** `work` does not sync what it writes, so the time of a sync is reported separately. */
  readonly unsynced?: boolean
  /** Writes the files again before each sample, so that they are not synced yet. */
  readonly fresh?: boolean
}

/** Measures a function on a directory of files, or a line of shell that has it as `$1`. */
async function ofDirectory(
  { directory }: Workspace,
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

async function dockerContainer(workspace: Workspace, { below, files }: Edit) {
  const docker = await dockerPeer(workspace)
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
