// The calls of the attack `kill`. To add a public call, add a line to `operations`.

const open = async (store, name) => {
  const container = await store.openContainer(name)
  await container.unmount()
  return container
}

export const operations = {
  consume: {
    atomic: true,
    run: async (store) =>
      (await open(store, 'work')).commit({ reference: 'consumed:1', message: 'work', consume: true }),
  },
  consumeTwin: {
    atomic: true,
    run: async (store) => (await open(store, 'twin')).commit({ reference: 'twin:2', consume: true }),
  },
  commit: { run: async (store) => (await open(store, 'work')).commit({ reference: 'committed:1' }) },
  load: { run: (store, { layered }) => store.load(layered) },
  import: { run: (store, { rootfs }) => store.import(rootfs, { reference: 'imported:1' }) },
  createContainer: {
    atomic: true,
    run: async (store) => (await store.createContainer('base:1', { name: 'fresh' })).unmount(),
  },
  flatten: { run: (store) => store.flatten('base:1', { reference: 'flat:1' }) },
  tag: { atomic: true, run: (store) => store.tag('base:1', 'tagged:1') },
  removeImage: {
    run: (store) => store.remove('unneeded:1'),
    // The call removes the name first, so an interrupted call cannot be repeated by name.
    again: async (store, { unneeded }) => {
      await store.load(unneeded)
      await store.remove('unneeded:1')
    },
  },
  removeContainer: {
    atomic: true,
    run: async (store) => (await open(store, 'scrap')).remove(),
  },
  prune: { run: (store) => store.prune() },
}

/** Creates the images and containers that the operations use. All of its calls resolve. */
export async function prepare(store, { base, unneeded, unnamed }) {
  for (const archive of [base, unneeded, unnamed]) await store.load(archive)
  for (const name of ['work', 'twin', 'twin-before', 'scrap']) {
    const container = await store.createContainer('base:1', { name })
    const content = name.startsWith('twin') ? 'twin' : `the work of ${name}`
    const file = await container.fs.open('/work', 'w')
    await file.writeFile(content)
    await file.sync()
    await file.close()
    for (const path of ['/work', '/']) await container.fs.utimes(path, 1_600_000_000, 1_600_000_000)
    if (name === 'twin-before') await container.commit({ reference: 'twin:1', consume: true })
    else await container.unmount()
  }
  // The image of `unnamed` loses its name, so that prune has one to remove.
  await store.tag('base:1', 'unnamed:1')
}
