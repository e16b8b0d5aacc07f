import { createReadStream } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { GIB, manyFiles, oneFile, tarOf, writeTar, type InputTree } from '../inputs.js'
import { dockerPeer } from '../peers/docker.js'
import { podmanPeer } from '../peers/podman.js'
import { shell, syncDisk } from '../peers/program.js'
import { task, type Workspace, type Task, type Workload } from '../workload.js'

export interface Tar {
  readonly name: string
  readonly files: InputTree
  readonly heavy?: boolean
}

export const tars: Readonly<Record<'many' | 'huge', Tar>> = {
  many: { name: '10,000 files', files: manyFiles(10_000, 1000) },
  huge: { name: 'a file of 1 GiB', files: oneFile('huge', GIB), heavy: true },
}

/** Measures the driver alone: creates a layer and applies a tar to it. */
export function apply({ name, files, heavy = false }: Tar): Workload {
  return {
    name: `apply/${name}`,
    about: `create a layer and apply a tar of ${name}`,
    heavy,
    space: 2 * files.space,
    driver: async (workspace) => {
      const driver = await workspace.openDriver()
      const tar = await tarFile(workspace, files)
      return task(
        async (clock) => {
          await clock.growth(workspace.directory, () =>
            clock.phase('apply', async () => {
              await driver.create('layer')
              await driver.applyDiff('layer', undefined, createReadStream(tar))
            }),
          )
          await driver.remove('layer')
        },
        () => driver.cleanup(),
      )
    },
    floors: { 'tar -x': (workspace) => unpacked(workspace, files, 'apply', 'tar -xC "$2" < "$1"') },
  }
}

/** Measures the store: imports the tar of a root filesystem as an image. */
export function importTar({ name, files, heavy = false }: Tar): Workload {
  return {
    name: `import/${name}`,
    about: `import a tar of ${name} as an image of one layer`,
    heavy,
    space: 2 * files.space,
    driver: async (workspace) => {
      const store = await workspace.openStore()
      const tar = await tarFile(workspace, files)
      return task(
        async (clock) => {
          const image = await clock.growth(workspace.directory, () =>
            clock.phase('import', () => store.import(tar)),
          )
          await store.remove(image.id)
        },
        () => store.close(),
      )
    },
    floors: {
      'tar -x + sha256sum': (workspace) =>
        unpacked(workspace, files, 'import', 'tee >(sha256sum) < "$1" | tar -xC "$2"'),
    },
    peers: {
      docker: async (workspace) => {
        const docker = await dockerPeer(workspace)
        const tar = await tarFile(workspace, files)
        return docker.task(async (clock) => {
          await clock.phase('import', () => docker.import(tar, 'bench/imported'))
          await clock.aside('sync', () => syncDisk(docker.root))
          await docker.removeImage('bench/imported')
        })
      },
      podman: async (workspace) => {
        const podman = podmanPeer(workspace)
        const tar = await tarFile(workspace, files)
        return task(async (clock) => {
          const image = await clock.phase('import', () => podman.run('import', '--quiet', tar))
          await clock.aside('sync', () => syncDisk(podman.root))
          await podman.run('rmi', image)
        })
      },
    },
  }
}

async function unpacked(workspace: Workspace, files: InputTree, phase: string, line: string): Promise<Task> {
  const tar = await tarFile(workspace, files)
  const tree = join(workspace.directory, 'tree')
  return task(async (clock) => {
    await mkdir(tree)
    await clock.phase(phase, () => shell(line, tar, tree))
    await clock.aside('sync', () => syncDisk(tree))
    await rm(tree, { recursive: true })
  })
}

function tarFile({ directory }: Workspace, files: InputTree): Promise<string> {
  return writeTar(join(directory, 'layer.tar'), tarOf(files))
}
