import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Image, Store } from 'layerstack'
import { run } from '../../test/support/program.js'
import { MIB } from '../inputs.js'
import { filledStore } from '../filled-root.js'
import { containerdPeer } from '../peers/containerd.js'
import { dockerPeer } from '../peers/docker.js'
import { podmanPeer } from '../peers/podman.js'
import { syncDisk } from '../peers/program.js'
import { task, type DriverSide, type Place, type Workload } from '../workload.js'
import { ofFlatTree, ofLayerTrees, referenceIn, unpackEach, unpackLayers } from './image-floors.js'

/** All work on the same archive of a real image, as `docker save` wrote it. */
const common = { heavy: true, onImage: true, space: 1500 * MIB }

const load: Workload = {
  ...common,
  name: 'image/load',
  about: 'an image comes out of its docker-archive, unpacked and verified',
  driver: async (side) => {
    const { store, archive } = await opened(side)
    return task(
      async (clock) => {
        const [image] = await clock.growth(side.directory, () =>
          clock.phase('load', () => store.load(archive)),
        )
        await store.remove((image as Image).id, { force: true })
      },
      () => store.close(),
    )
  },
  floors: {
    'tar -x + sha256sum': (place) =>
      unpackLayers(place, {
        'tar -x': unpackEach,
        sha256sum: 'sha256sum $(cat order)',
      }),
    'tar -x & sha256sum': (place) =>
      unpackLayers(place, {
        both: `sha256sum $(cat order) & ${unpackEach}; wait`,
      }),
  },
  peers: {
    docker: async (place) => {
      const docker = await dockerPeer(place)
      const archive = await place.image()
      return docker.task(async (clock) => {
        await clock.phase('load', () => docker.load(archive))
        await clock.aside('sync', () => syncDisk(docker.root))
        await docker.removeImage(await referenceIn(archive))
      })
    },
    podman: async (place) => {
      const podman = podmanPeer(place)
      const archive = await place.image()
      return task(async (clock) => {
        await clock.phase('load', () => podman.run('load', '--quiet', '--input', archive))
        await clock.aside('sync', () => syncDisk(podman.root))
        await podman.run('rmi', '--all', '--force')
      })
    },
    ctr: async (place) => {
      const { ctr, root, task: serve } = await containerdPeer(place)
      const archive = await place.image()
      return serve(async (clock) => {
        await clock.phase('load', () => ctr('images', 'import', '--snapshotter', 'overlayfs', archive))
        await clock.aside('sync', () => syncDisk(root))
        const names = (await ctr('images', 'list', '--quiet')).trim().split('\n')
        await ctr('images', 'remove', '--sync', ...names)
      })
    },
    umoci: async (place) => {
      const layout = join(place.directory, 'layout')
      await run('skopeo', ['copy', '--quiet', `docker-archive:${await place.image()}`, `oci:${layout}:image`])
      return task(async (clock) => {
        const bundle = join(place.directory, 'bundle')
        await clock.phase(
          'load',
          async () => void (await run('umoci', ['unpack', '--image', `${layout}:image`, bundle])),
        )
        await clock.aside('sync', () => syncDisk(place.directory))
        await rm(bundle, { recursive: true })
      })
    },
  },
}

const loadAgain: Workload = {
  ...common,
  name: 'image/load again',
  about: 'the same archive, when all of its layers are there already',
  driver: async (side) => {
    const { store, archive } = await loaded(side)
    return task(
      (clock) => clock.phase('load', async () => void (await store.load(archive))),
      () => store.close(),
    )
  },
  peers: {
    docker: async (place) => {
      const { docker, archive } = await dockerWithImage(place)
      return docker.task((clock) => clock.phase('load', () => docker.load(archive)))
    },
    podman: async (place) => {
      const podman = podmanPeer(place)
      const archive = await place.image()
      const again = async () => void (await podman.run('load', '--quiet', '--input', archive))
      await again()
      return task((clock) => clock.phase('load', again))
    },
  },
}

const reassemble: Workload = {
  ...common,
  name: 'image/reassemble',
  about: "the tars of all layers, byte for byte as they came, out of the store's files",
  driver: async (side) => {
    const { store } = await loaded(side)
    const layers = await store.layers.list()
    return task(
      (clock) =>
        clock.phase('reassemble', async () => {
          for (const { chainId } of layers) for await (const _ of store.layers.tarStream(chainId));
        }),
      () => store.close(),
    )
  },
  floors: {
    'cat of all files + sha256sum': (place) =>
      ofLayerTrees(place, {
        reassemble: 'find "$1" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum',
      }),
    'tar -c + sha256sum': (place) =>
      ofLayerTrees(place, {
        reassemble: 'for d in "$1"/*; do tar --sort=name -cC "$d" . | sha256sum; done',
      }),
  },
}

const save: Workload = {
  ...common,
  name: 'image/save',
  about: 'a docker-archive of the image, written to a file',
  driver: async (side) => {
    const { store, image } = await loaded(side)
    const file = join(side.directory, 'saved.tar')
    return task(
      async (clock) => {
        await clock.phase('save', () => store.save(image.references[0] ?? image.id, file))
        await clock.aside('sync', () => syncDisk(side.directory))
        await rm(file)
      },
      () => store.close(),
    )
  },
  floors: {
    'cat of all files + sha256sum': (place) =>
      ofLayerTrees(
        place,
        { save: 'find "$1" -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | tee "$1.saved" | sha256sum' },
        true,
      ),
  },
  peers: {
    docker: async (place) => {
      const { docker, reference } = await dockerWithImage(place)
      const file = join(place.directory, 'saved.tar')
      return docker.task(async (clock) => {
        await clock.phase('save', () => docker.save(reference, createWriteStream(file)))
        await clock.aside('sync', () => syncDisk(place.directory))
        await rm(file)
      })
    },
    podman: async (place) => {
      const podman = podmanPeer(place)
      const archive = await place.image()
      await podman.run('load', '--quiet', '--input', archive)
      const reference = await referenceIn(archive)
      const file = join(place.directory, 'saved.tar')
      return task(async (clock) => {
        await clock.phase('save', async () => void (await podman.run('save', '--output', file, reference)))
        await clock.aside('sync', () => syncDisk(place.directory))
        await rm(file)
      })
    },
  },
}

const flatten: Workload = {
  ...common,
  name: 'image/flatten',
  about: 'an image of one layer, of all layers of another',
  driver: async (side) => {
    const { store, image } = await loaded(side)
    return task(
      async (clock) => {
        const flat = await clock.growth(side.directory, () =>
          clock.phase('flatten', () => store.flatten(image.id)),
        )
        await store.remove(flat.id)
      },
      () => store.close(),
    )
  },
  floors: {
    'tar -c + sha256sum + tar -x': (place) =>
      ofFlatTree(place, {
        flatten: 'mkdir "$1.copy"; tar -cC "$1" . | tee >(sha256sum) | tar -xC "$1.copy"',
      }),
  },
  peers: {
    docker: async (place) => {
      const { docker, reference } = await dockerWithImage(place)
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
    podman: async (place) => {
      const podman = podmanPeer(place)
      const archive = await place.image()
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

async function opened(side: DriverSide): Promise<{ store: Store; archive: string }> {
  const archive = await side.image()
  return { archive, store: await side.openStore() }
}

async function loaded(side: DriverSide): Promise<{ store: Store; archive: string; image: Image }> {
  const archive = await side.image()
  return { archive, ...(await filledStore(side, 'load', archive)) }
}

async function dockerWithImage(place: Place) {
  const docker = await dockerPeer(place)
  const archive = await place.image()
  await docker.load(archive)
  return { docker, archive, reference: await referenceIn(archive) }
}
