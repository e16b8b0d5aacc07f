import { parseArgs } from 'node:util'
import { fuzz, showFound } from './fuzz.js'
import { pairs, type Pair } from './pairs.js'

const USAGE = `npm run fuzz -- [options]

  --pairs TEXT     only pairs whose name holds this
  --seed NUMBER    of the first sequence; the next ones follow by number   (default: a random one)
  --steps NUMBER   ends when so many steps were taken on each pair         (default: never)
  --minutes NUMBER ends after so long                                      (default: never)
`
/** Taken on one pair before it is the next one's turn. */
const ROUND = 2000
/** Seeds of one round do not come again in the next. */
const SEEDS = 10_000

const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '' },
    seed: { type: 'string', default: String(Math.trunc(Math.random() * 1_000_000)) },
    steps: { type: 'string', default: 'Infinity' },
    minutes: { type: 'string', default: 'Infinity' },
    help: { type: 'boolean', default: false },
  },
})
const chosen = pairs.filter(({ name }) => name.includes(values.pairs))
if (values.help || chosen.length === 0) {
  console.log(`${USAGE}\npairs:\n${pairs.map(({ name }) => `  ${name}`).join('\n')}`)
} else {
  for (const { name, reason } of chosen)
    if (reason !== undefined) console.log(`not here: ${name}, since ${reason}`)
  await rounds(chosen.filter(({ reason }) => reason === undefined))
}

async function rounds(here: readonly Pair[]): Promise<void> {
  const most = Number(values.steps)
  const end = Date.now() + Number(values.minutes) * 60_000
  const taken = new Map(here.map((pair) => [pair, 0]))
  const isOpen = (pair: Pair) => (taken.get(pair) ?? 0) < most && Date.now() < end
  for (let seed = Number(values.seed); here.some(isOpen); seed += SEEDS) {
    for (const pair of here.filter(isOpen)) {
      const before = taken.get(pair) ?? 0
      const { steps, found } = await fuzz(
        pair,
        seed,
        ({ steps: now }) => now < ROUND && before + now < most && Date.now() < end,
      )
      taken.set(pair, before + steps)
      if (found !== undefined) return tell(pair, showFound(pair, found), found.seed)
      console.log(`${pair.name}: ${before + steps} steps, from seed ${seed} on`)
    }
  }
}

function tell(pair: Pair, report: string, seed: number): void {
  console.log(
    `\n${report}\n\nto see it again: npm run fuzz -- --pairs '${pair.name}' --steps 1 --seed ${seed}`,
  )
  console.log('to keep it: mustAgree(pair, steps), in test/fuzz/found.test.ts')
  process.exitCode = 1
}
