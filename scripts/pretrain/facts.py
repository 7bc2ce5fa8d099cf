"""The closed world that tiny-chat talks about."""

from __future__ import annotations


def _pairs(text: str) -> dict[str, str]:
    """Read ``key=value`` pairs."""
    return {key: value for key, _, value in (item.partition("=") for item in text.split())}


def _list(text: str) -> list[str]:
    """Split a text at its spaces."""
    return text.split()


COLOURS = _pairs(
    """
    sky=blue grass=green snow=white coal=black sun=yellow banana=yellow tomato=red lemon=yellow
    blood=red milk=white night=black carrot=orange cherry=red chocolate=brown cloud=white
    cucumber=green frog=green lime=green mud=brown pumpkin=orange rose=red salt=white sea=blue
    strawberry=red raven=black spinach=green swan=white flamingo=pink plum=purple pea=green
    """
)

SOUNDS = _pairs(
    """
    cow=moo dog=woof cat=meow duck=quack sheep=baa pig=oink horse=neigh lion=roar owl=hoot
    snake=hiss bee=buzz frog=ribbit mouse=squeak rooster=cock-a-doodle-doo wolf=howl crow=caw
    hen=cluck donkey=hee-haw turkey=gobble bird=tweet
    """
)

HOMES = _pairs(
    """
    bee=hive bird=nest dog=kennel horse=stable spider=web fox=den rabbit=burrow fish=pond
    pig=sty lion=savanna whale=sea monkey=jungle camel=desert cow=barn bear=cave
    """
)

BABIES = _pairs(
    """
    dog=puppy cat=kitten cow=calf horse=foal sheep=lamb pig=piglet hen=chick duck=duckling
    bear=cub goat=kid frog=tadpole kangaroo=joey swan=cygnet deer=fawn goose=gosling
    """
)

LEGS = _pairs(
    """
    spider=eight ant=six bee=six dog=four cat=four cow=four horse=four duck=two bird=two hen=two
    snake=no fish=no crab=ten fly=six frog=four elephant=four swan=two
    """
)

OPPOSITES = _pairs(
    """
    hot=cold big=small tall=short up=down left=right open=closed day=night black=white good=bad
    happy=sad fast=slow hard=soft wet=dry full=empty light=dark new=old rich=poor early=late
    strong=weak loud=quiet high=low near=far in=out on=off yes=no true=false love=hate win=lose
    start=stop first=last thick=thin sweet=sour clean=dirty
    """
)

CAPITALS = _pairs(
    """
    France=Paris Spain=Madrid Italy=Rome Germany=Berlin England=London Japan=Tokyo China=Beijing
    Russia=Moscow Egypt=Cairo Greece=Athens Portugal=Lisbon Norway=Oslo Sweden=Stockholm
    Poland=Warsaw Austria=Vienna Kenya=Nairobi Cuba=Havana Peru=Lima Canada=Ottawa India=Delhi
    Ireland=Dublin Finland=Helsinki Denmark=Copenhagen Turkey=Ankara Hungary=Budapest
    """
)

KINDS = _pairs(
    """
    apple=fruit banana=fruit cherry=fruit plum=fruit lemon=fruit carrot=vegetable
    spinach=vegetable pea=vegetable potato=vegetable dog=animal cat=animal horse=animal
    cow=animal lion=animal fox=animal red=colour blue=colour green=colour pink=colour
    rose=flower tulip=flower daisy=flower hammer=tool saw=tool drum=instrument
    piano=instrument violin=instrument bus=vehicle car=vehicle train=vehicle
    """
)

DAYS = _list("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _list(
    "January February March April May June July August September October November December"
)

ANIMALS = sorted({*SOUNDS, *HOMES, *BABIES, *LEGS})
FRUIT = _list("apple banana cherry fig grape kiwi lemon lime mango melon orange peach pear plum")
COLOUR_NAMES = _list("red blue green yellow pink white black brown orange purple grey gold")
ADJECTIVES = _list(
    "kind brave clever happy gentle bright funny calm wise warm lovely quiet little big old "
    "young red blue hungry sleepy lucky shy proud tiny"
)
THINGS = _list(
    "hat book garden song smile cake lamp boat kite drum story house idea picture coat dance "
    "ring box ball key coin apple map bell"
)
PLACES = _list("forest river hill garden sea town barn cave field market castle beach")
ACTIONS = _list("ran swam walked danced sang slept jumped played flew hid sat read")

COMPLIMENTS = (
    "You are {adj}.",
    "You are {adj} and {adj2}.",
    "I like your {thing}.",
    "I like your {adj} {thing}.",
    "What a {adj} {thing}!",
    "Have a {adj} day!",
    "Your {thing} is {adj}.",
    "You make me {adj}, my {adj2} friend.",
    "Thank you for the {adj} {thing}.",
    "You sing like a {adj} {animal}.",
)

STORY_LINES = (
    "The {animal} {act} in the {place}.",
    "It found a {adj} {thing}.",
    "It met a {adj2} {animal2}.",
    "They {act2} to the {place2}.",
    "Then it {act2} home.",
    "The {animal2} was {adj}.",
)
