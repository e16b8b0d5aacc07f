import { parseArgs } from 'node:util'
import { attacks } from './attacks.js'
import { runAttack } from './run-attack.js'

const USAGE = `npm run torture -- [options]

  --attacks TEXT   only attacks whose name contains this
  --seed NUMBER    of all random choices          (default: a random one)
  --minutes NUMBER for all attacks together       (default: 10)
`

const { values } = parseArgs({
  options: {
    attacks: { type: 'string', default: '' },
    seed: { type: 'string', default: String(Math.trunc(Math.random() * 1_000_000)) },
    minutes: { type: 'string', default: '10' },
    help: { type: 'boolean', default: false },
  },
})
const chosen = attacks.filter(({ name }) => name.includes(values.attacks))
if (values.help || chosen.length === 0) {
  console.log(`${USAGE}\nattacks:\n${attacks.map(({ name }) => `  ${name}`).join('\n')}`)
} else {
  await torture()
}

async function torture(): Promise<void> {
  const here = chosen.filter(({ reason }) => reason === undefined)
  for (const { name, reason } of chosen)
    if (reason !== undefined) console.log(`not here: ${name} (${reason})`)
  const seconds = (Number(values.minutes) * 60) / here.length
  let broken = 0
  for (const attack of here) {
    const { figures, violations } = await runAttack(attack, Number(values.seed), seconds)
    const counts = Object.entries(figures).map(([what, count]) => `${count} ${what}`)
    console.log(`${attack.name}: ${[...counts, `${violations.length} violations`].join(', ')}`)
    for (const violation of violations) console.log(`  ${violation}`)
    if (violations.length > 0) {
      console.log(`  again: npm run torture -- --attacks '${attack.name}' --seed ${values.seed}`)
    }
    broken += violations.length
  }
  console.log(`seed ${values.seed}: ${here.length} attacks, ${broken} violations`)
  if (broken > 0) process.exitCode = 1
}
