import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Image, Store } from 'layerstack'
import { storeParts } from '#layerstack/store.js'
import { run } from '../../test/support/program.js'
import { MIB } from '../inputs.js'
import { filledStore } from '../filled-root.js'
import { containerdPeer } from '../peers/containerd.js'
import { dockerPeer } from '../peers/docker.js'
import { podmanPeer } from '../peers/podman.js'
import { syncDisk } from '../peers/program.js'
import { task, type DriverWorkspace, type Workspace, type Workload } from '../workload.js'
import { ofFlatTree, ofLayerTrees, referenceIn, unpackEach, unpackLayers } from './image-floors.js'

/** All these workloads use the same docker-archive of a real image. */
const common = { heavy: true, onImage: true, space: 1500 * MIB }

const load: Workload = {
  ...common,
  name: 'image/load',
  about: 'load a docker-archive: unpack and verify all layers',
  driver: async (workspace) => {
    const { store, archive } = await opened(workspace)
    return task(
      async (clock) => {
        const [image] = await clock.growth(workspace.directory, () =>
          clock.phase('load', () => store.load(archive)),
        )
        await store.remove((image as Image).id, { force: true })
      },
      () => store.close(),
    )
  },
  floors: {
    'tar -x + sha256sum': (workspace) =>
      unpackLayers(workspace, {
        'tar -x': unpackEach,
        sha256sum: 'sha256sum $(cat order)',
      }),
    'tar -x & sha256sum': (workspace) =>
      unpackLayers(workspace, {
        both: `sha256sum $(cat order) & ${unpackEach}; wait`,
      }),
  },
  peers: {
    docker: async (workspace) => {
      const docker = await dockerPeer(workspace)
      const archive = await workspace.image()
      return docker.task(async (clock) => {
        await clock.phase('load', () => docker.load(archive))
        await clock.aside('sync', () => syncDisk(docker.root))
        await docker.removeImage(await referenceIn(archive))
      })
    },
    podman: async (workspace) => {
      const podman = podmanPeer(workspace)
      const archive = await workspace.image()
      return task(async (clock) => {
        await clock.phase('load', () => podman.run('load', '--quiet', '--input', archive))
        await clock.aside('sync', () => syncDisk(podman.root))
        await podman.run('rmi', '--all', '--force')
      })
    },
    ctr: async (workspace) => {
      const { ctr, root, task: serve } = await containerdPeer(workspace)
      const archive = await workspace.image()
      return serve(async (clock) => {
        await clock.phase('load', () => ctr('images', 'import', '--snapshotter', 'overlayfs', archive))
        await clock.aside('sync', () => syncDisk(root))
        const names = (await ctr('images', 'list', '--quiet')).trim().split('\n')
        await ctr('images', 'remove', '--sync', ...names)
      })
    },
    umoci: async (workspace) => {
      const layout = join(workspace.directory, 'layout')
      await run('skopeo', [
        'copy',
        '--quiet',
        `docker-archive:${await workspace.image()}`,
        `oci:${layout}:image`,
      ])
      return task(async (clock) => {
        const bundle = join(workspace.directory, 'bundle')
        await clock.phase(
          'load',
          async () => void (await run('umoci', ['unpack', '--image', `${layout}:image`, bundle])),
        )
        await clock.aside('sync', () => syncDisk(workspace.directory))
        await rm(bundle, { recursive: true })
      })
    },
  },
}

const loadAgain: Workload = {
  ...common,
  name: 'image/load again',
  about: 'load the same archive when the store has all of its layers',
  driver: async (workspace) => {
    const { store, archive } = await loaded(workspace)
    return task(
      (clock) => clock.phase('load', async () => void (await store.load(archive))),
      () => store.close(),
    )
  },
  peers: {
    docker: async (workspace) => {
      const { docker, archive } = await dockerWithImage(workspace)
      return docker.task((clock) => clock.phase('load', () => docker.load(archive)))
    },
    podman: async (workspace) => {
      const podman = podmanPeer(workspace)
      const archive = await workspace.image()
      const again = async () => void (await podman.run('load', '--quiet', '--input', archive))
      await again()
      return task((clock) => clock.phase('load', again))
    },
  },
}

const reassemble: Workload = {
  ...common,
  name: 'image/reassemble',
  about: "read the tars of all layers, byte for byte as loaded, from the store's files",
  driver: async (workspace) => {
    const { store } = await loaded(workspace)
    const { layers } = storeParts(store).catalog
    const all = await layers.list()
    return task(
      (clock) =>
        clock.phase('reassemble', async () => {
          for (const { chainId } of all) for await (const _ of layers.tarStream(chainId));
        }),
      () => store.close(),
    )
  },
  floors: {
    'cat of all files + sha256sum': (workspace) =>
      ofLayerTrees(workspace, {
        reassemble: 'find "$1" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum',
      }),
    'tar -c + sha256sum': (workspace) =>
      ofLayerTrees(workspace, {
        reassemble: 'for d in "$1"/*; do tar --sort=name -cC "$d" . | sha256sum; done',
      }),
  },
}

const save: Workload = {
  ...common,
  name: 'image/save',
  about: 'write a docker-archive of the image to a file',
  driver: async (workspace) => {
    const { store, image } = await loaded(workspace)
    const file = join(workspace.directory, 'saved.tar')
    return task(
      async (clock) => {
        await clock.phase('save', () => store.save(image.references[0] ?? image.id, file))
        await clock.aside('sync', () => syncDisk(workspace.directory))
        await rm(file)
      },
      () => store.close(),
    )
  },
  floors: {
    'cat of all files + sha256sum': (workspace) =>
      ofLayerTrees(
        workspace,
        { save: 'find "$1" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | tee "$1.saved" | sha256sum' },
        true,
      ),
  },
  peers: {
    docker: async (workspace) => {
      const { docker, reference } = await dockerWithImage(workspace)
      const file = join(workspace.directory, 'saved.tar')
      return docker.task(async (clock) => {
        await clock.phase('save', () => docker.save(reference, createWriteStream(file)))
        await clock.aside('sync', () => syncDisk(workspace.directory))
        await rm(file)
      })
    },
    podman: async (workspace) => {
      const podman = podmanPeer(workspace)
      const archive = await workspace.image()
      await podman.run('load', '--quiet', '--input', archive)
      const reference = await referenceIn(archive)
      const file = join(workspace.directory, 'saved.tar')
      return task(async (clock) => {
        await clock.phase('save', async () => void (await podman.run('save', '--output', file, reference)))
        await clock.aside('sync', () => syncDisk(workspace.directory))
        await rm(file)
      })
    },
  },
}

const flatten: Workload = {
  ...common,
  name: 'image/flatten',
  about: 'create an image of one layer from all layers of another',
  driver: async (workspace) => {
    const { store, image } = await loaded(workspace)
    return task(
      async (clock) => {
        const flat = await clock.growth(workspace.directory, () =>
          clock.phase('flatten', () => store.flatten(image.id)),
        )
        await store.remove(flat.id)
      },
      () => store.close(),
    )
  },
  floors: {
    'tar -c + sha256sum + tar -x': (workspace) =>
      ofFlatTree(workspace, {
        flatten: 'mkdir "$1.copy"; tar -cC "$1" . | tee >(sha256sum) | tar -xC "$1.copy"',
      }),
  },
  peers: {
    docker: async (workspace) => {
      const { docker, reference } = await dockerWithImage(workspace)
      return docker.task(async (clock) => {
        await clock.phase('flatten', async () => {
          const container = await docker.create(reference)
          await docker.import(await docker.export(container), 'bench/flat')
          await docker.removeContainer(container)
        })
        await clock.aside('sync', () => syncDisk(docker.root))
        await docker.removeImage('bench/flat')
      })
    },
    podman: async (workspace) => {
      const podman = podmanPeer(workspace)
      const archive = await workspace.image()
      await podman.run('load', '--quiet', '--input', archive)
      const container = await podman.create(await referenceIn(archive))
      return task(async (clock) => {
        const image = await clock.phase('flatten', () => podman.exportInto(container))
        await clock.aside('sync', () => syncDisk(podman.root))
        await podman.run('rmi', image)
      })
    },
  },
}

export const imageWorkloads: readonly Workload[] = [load, loadAgain, reassemble, save, flatten]

async function opened(workspace: DriverWorkspace): Promise<{ store: Store; archive: string }> {
  const archive = await workspace.image()
  return { archive, store: await workspace.openStore() }
}

async function loaded(workspace: DriverWorkspace): Promise<{ store: Store; archive: string; image: Image }> {
  const archive = await workspace.image()
  return { archive, ...(await filledStore(workspace, 'load', archive)) }
}

async function dockerWithImage(workspace: Workspace) {
  const docker = await dockerPeer(workspace)
  const archive = await workspace.image()
  await docker.load(archive)
  return { docker, archive, reference: await referenceIn(archive) }
}
